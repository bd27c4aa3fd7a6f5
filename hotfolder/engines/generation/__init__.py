"""Text to image through diffusers."""
