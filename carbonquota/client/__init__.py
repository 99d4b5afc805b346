"""What programs ask the limiter and the quota service through."""
