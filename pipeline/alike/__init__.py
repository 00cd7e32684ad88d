"""Problems and traces that say the same, however they are written."""
