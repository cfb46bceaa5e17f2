"""`serve_app:app`: the platform as a Serve application, for `serve run`, `serve deploy` and KubeRay's RayService."""

# No postponed annotations: Serve reads the type of the argument from the function.

from typing import Any

from pixyz_ray.cluster.environment import worker_environment
from serve_app.arguments import AppArguments
from serve_app.deployment import application


def app(arguments: AppArguments) -> Any:
    """Return the Serve application that is the platform (called by Serve).

    Args:
        arguments: settings.

    Raises:
        InvalidBackendParameter: a setting cannot be used.
    """
    settings = arguments.settings()
    return application(settings, None, makes_tracker=True, env_vars=worker_environment(settings))
