"""The tool-calling loop: transcript, parser, budgets, journal, judge."""
