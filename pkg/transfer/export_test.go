package transfer

// Observe looks at every change of the memory in use (held) and of that plus what is kept for reuse (total), in bytes.
func (c *Copier) Observe(fn func(held, total int64)) { c.pool.observe = fn }
