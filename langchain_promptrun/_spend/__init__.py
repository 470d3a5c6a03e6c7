"""Costs of calls, budgets, and rates that adapt to the server. Imported when first used."""
