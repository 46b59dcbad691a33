"""What a web server loads: `gunicorn wsgi:app`."""

import gc

from config import Config
from webapp import create_app

app = create_app(Config.from_env())
# What is loaded now stays. Without this, one request in a hundred waits while the collector looks through it.
gc.collect()
gc.freeze()
