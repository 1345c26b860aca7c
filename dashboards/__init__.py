"""The web pages: what a release says, in words, figures and pictures."""
