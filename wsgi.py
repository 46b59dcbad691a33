"""What a web server loads: `gunicorn wsgi:app`."""

from config import Config
from webapp import create_app

app = create_app(Config.from_env())
