"""What any process may do at any time, any number of times, in any order: plain functions without loops."""
