package main

import (
	"math/rand/v2"

	"github.com/bucketmesh/bucketmesh/pkg/config"
)

// params of one run, all drawn from its seed.
type params struct {
	replicas, users, workers, chaos, restoring                  int
	etags, versions, restores, deletes                          bool
	pace, crash, loseRequest, loseAnswer, drop, duplicate, jump float64
	opaque                                                      bool // no digest in attributes: comparing takes a read
	policy                                                      config.Policy
}

// draw decides what kind of run this is.
func draw(r *rand.Rand) params {
	p := params{
		replicas: 2 + r.IntN(2), users: 2 + r.IntN(5), workers: 1 + r.IntN(3), chaos: 40 + r.IntN(160),
		etags: r.IntN(4) == 0, versions: r.IntN(2) == 0, deletes: r.IntN(4) != 0,
		restoring: 2, pace: 0.15,
		policy: []config.Policy{config.KeepBoth, config.KeepBoth, config.LastWriterWins, config.Primary}[r.IntN(4)],
	}
	p.restores = !p.etags && r.IntN(2) == 0 // R6: on ETags alone, re-put bytes are the documented residual
	if r.IntN(3) != 0 {
		p.crash, p.loseRequest, p.loseAnswer = 0.04*r.Float64(), 0.05*r.Float64(), 0.15*r.Float64()
	}
	p.drop, p.duplicate, p.jump = 0.3*r.Float64(), 0.2*r.Float64(), 0.03*r.Float64()
	switch r.IntN(7) {
	case 0: // unacknowledged writes, old versions restored, leases that end
		p.users, p.etags, p.restores, p.jump = 4+r.IntN(5), false, true, 0.1
		p.crash, p.loseAnswer, p.drop = 0.1*r.Float64(), 0.5*r.Float64(), 0.1
	case 2: // every other operation brings back an old version, while answers are being lost
		p.users, p.replicas, p.etags, p.restores, p.restoring = 4+r.IntN(5), 2, false, true, 4
		p.crash, p.loseAnswer, p.drop, p.chaos = 0.05*r.Float64(), 0.5*r.Float64(), 0.3*r.Float64(), 200+r.IntN(400)
		p.pace = 0.02 + 0.05*r.Float64()
	case 3: // users overwrite and restore what dying workers wrote, before anybody looks
		p.users, p.replicas, p.workers, p.etags, p.restores, p.restoring = 4+r.IntN(5), 2, 1, false, true, 4
		p.crash, p.loseAnswer, p.drop, p.chaos = 0.1+0.2*r.Float64(), 0.2*r.Float64(), 0.2*r.Float64(), 300+r.IntN(500)
		p.pace, p.jump = 0.01+0.03*r.Float64(), 0.05
	case 1: // conflicts one after the other
		p.users, p.replicas, p.chaos, p.drop = 4+r.IntN(6), 3, 200+r.IntN(200), 0
	}
	return p
}
