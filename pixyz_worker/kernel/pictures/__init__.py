"""Pictures of scenes: one camera, two renderers."""
