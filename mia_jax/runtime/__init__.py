"""Devices, work and files: what every stage stands on."""
