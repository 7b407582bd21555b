package demo

// StopPipeline lets tests break replicas without anybody mending them.
func (d *Demo) StopPipeline() error { return d.mesh.Close() }

// KillServer ends a server as a crash would.
func (d *Demo) KillServer(i int) { _ = d.servers[i].Kill() }
