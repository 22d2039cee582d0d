"""Why a model answers as it does: weights by name, importance of fields, trees as text and picture, one event."""
