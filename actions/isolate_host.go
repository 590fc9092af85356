package actions

// IsolateHost cuts the host off from every network but what policy keeps.
var IsolateHost = &Action{Name: "isolate-host", Kind: Mitigation, Disruptive: true}
