"""Hospital tables as `Table`: read, mapped to the study's schema, checked. Never imported by the coordinator."""
