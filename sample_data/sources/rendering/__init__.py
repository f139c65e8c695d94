"""How the synthetic people are built and rendered; needs Blender's Python module bpy."""
