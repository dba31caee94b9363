"""The form in which numbers leave a site: integers made to be added."""
