"""The main job: New York flights of 2013, streamed, learned, served and reported, from one command."""
