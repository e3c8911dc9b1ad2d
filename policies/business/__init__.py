"""Rules for the work itself: when books take postings, whose a case is, which events may enter the log."""
