"""Plots of physiology experiments."""
