package main

// roles are the parts this program plays inside the throw-away computer.
var roles map[string]func(args []string) error

func tell(string) error { return errNotHere }
