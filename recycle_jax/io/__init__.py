"""Files in and out: checkpoints, video, metrics, work directories, progress bars."""
