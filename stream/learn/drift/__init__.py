"""Drift detectors: each watches one number an event, in River's names and with River's detections, compiled."""
