"""Write-ahead journals of trials: events, files, replay and the background writer."""
