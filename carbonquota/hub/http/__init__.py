"""The quota service over HTTP: one file a topic, an application made of all."""
