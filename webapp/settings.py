"""The settings of the app that answers the request."""

from __future__ import annotations

from flask import Flask, current_app

from config import Config


def keep(app: Flask, config: Config) -> None:
    """Give the app its settings."""
    app.extensions["sluice"] = config


def settings() -> Config:
    """The settings of the current app."""
    kept: Config = current_app.extensions["sluice"]
    return kept
