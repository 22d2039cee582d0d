"""The monitor: one local web page that shows a pipeline as it runs, from what lies on Kafka."""
