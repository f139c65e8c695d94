"""Made challenges and degraded copies of videos."""
