"""The steps that make the sample clips: portrait, scene, manipulation, encoding."""
