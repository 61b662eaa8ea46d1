"""The vocabulary: who (keys), what happened (events), what a view shows (snapshot). Frozen data only."""
