"""An HTTP server for a bundle on a CPU, or for a teacher. `create_app` makes the application."""

from unbraid.serve.app import create_app
from unbraid.serve.engine.bundle_engine import BundleEngine
from unbraid.serve.engine.engine import Engine
from unbraid.serve.engine.teacher_engine import TeacherEngine
from unbraid.serve.http.auth import ApiKeys
from unbraid.serve.limits import Limits
from unbraid.serve.settings import Settings

__all__ = ["ApiKeys", "BundleEngine", "Engine", "Limits", "Settings", "TeacherEngine", "create_app"]
