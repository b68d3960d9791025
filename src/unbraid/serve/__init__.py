"""One HTTP server for a bundle on a CPU and for a teacher: `create_app` makes the application, `run` serves it."""

from unbraid.serve.app import create_app
from unbraid.serve.engine.engine import BundleEngine, Engine, TeacherEngine
from unbraid.serve.http.auth import Keys
from unbraid.serve.http.limits import Limits
from unbraid.serve.settings import Settings

__all__ = ["BundleEngine", "Engine", "Keys", "Limits", "Settings", "TeacherEngine", "create_app"]
