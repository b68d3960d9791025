"""Opening every graph before the first request comes."""

from io import BytesIO

from unbraid.serve.engine.engine import TEXTS, Engine, Given


def warm(engine: Engine) -> None:
    """Encode a text under every task, and a picture."""
    given = [Given(kind, "unbraid") for kind in TEXTS if kind in engine.modalities]
    for task in engine.tasks:
        engine.encode(engine.read(given, task)[0], False)
    if "image" in engine.modalities:
        from PIL import Image

        white = BytesIO()
        Image.new("RGB", (64, 64), "white").save(white, "PNG")
        picture = Given("image", white.getvalue(), (64, 64))
        engine.encode(engine.read([picture], engine.default_task)[0], False)
