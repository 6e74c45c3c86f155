"""From a folder of recipe and scriptlets to a content-addressed package."""
