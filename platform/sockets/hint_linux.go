package sockets

// Heed lets the memory make use of what the kernel tells: the holder of a socket
// that it told of is looked for in the process that began to listen, and nowhere
// else until the Update after that one.
func (o *Owners) Heed(n *News) { o.news = n }

// hinted finds the holder of a new socket by what the kernel told of it.
func (o *Owners) hinted(cookie uint64, s *socket) bool {
	if o.news == nil {
		return false
	}
	pid := o.news.hint(cookie)
	if pid == 0 {
		return false
	}
	o.into, o.pid = &group{sockets: map[uint64]*socket{s.inode: s}}, int32(pid)
	// One that is gone, or may not be looked into, holds nothing that can be seen.
	_ = o.proc.descriptors(int32(pid), o.visit)
	return len(s.holders) > 0
}

// join lets a socket whose holder was found by a hint be looked for like others.
// Whoever was searched for others is not searched again: a socket is handed on to
// processes that are new.
func (s *socket) join(g *group) {
	s.move(g)
	if len(s.holders) > 0 {
		s.searches = 1
	}
}

// hint returns who began to listen on a socket, once; 0 is unknown.
func (n *News) hint(cookie uint64) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	pid := n.hints[cookie]
	delete(n.hints, cookie)
	return pid
}
