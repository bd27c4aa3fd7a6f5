"""What runs on the device: generate, score, upscale. Imported only inside a worker."""
