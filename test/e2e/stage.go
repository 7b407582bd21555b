package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// Options of Open. All are required but State, Limit, Args, Brake and There.
type Options struct {
	Name  string // of the group and of its buckets, which must not be there yet
	Seed  uint64 // of all contents
	State string // sqlite (the default) or postgres
	Limit time.Duration
	Dir   string   // for data and logs
	Args  []string // more arguments of each start of the program
	// Brake is spec.deletes.brake of the document, in YAML; without it there is no brake, for a workload that deletes much of what there is.
	Brake string
	There bool // buckets and document are there, made by an earlier Open

	Program string // under test: it takes the arguments of "bucketmesh up"
	CLI     string // bucketmesh itself, which is asked for its status; Program if empty
}

// Open makes buckets and the configuration of a group at a fleet of servers. The program is not started: it may be services
// elsewhere. getenv knows what hack/servers.sh prints.
func Open(ctx context.Context, o Options, f Fleet, getenv func(string) string) (*Stage, error) {
	s := &Stage{
		options: options{
			name: o.Name, seed: o.Seed, state: o.State, limit: o.Limit, dir: o.Dir, args: o.Args, brake: o.Brake, there: o.There, binary: o.Program, cli: o.CLI,
			ops: 1, keys: 40,
		},
		locks: map[string]*keyLocks{}, ledger: &ledger{},
	}
	if s.state == "" {
		s.state = "sqlite"
	}
	if err := s.defaults(); err != nil {
		return nil, err
	}
	if err := s.setUp(ctx, f, getenv); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// MinIOs is two MinIO with versions.
func MinIOs(_ context.Context, s *Stage, env *environment) error {
	arns := []string{env.need("BUCKETMESH_E2E_MINIO_ARN_FAST"), env.need("BUCKETMESH_E2E_MINIO_ARN_DURABLE")}
	s.addS3(env, "minio-a", "minio", env.need("BUCKETMESH_TEST_MINIO_A"), true, arns...)
	s.addS3(env, "minio-b", "minio", env.need("BUCKETMESH_TEST_MINIO_B"), true, arns...)
	return env.complete()
}

// Document is the file with the group.
func (s *Stage) Document() string { return s.Program.group }

// LookupEnv is the environment of the program: the credentials of the buckets.
func (s *Stage) LookupEnv(name string) (string, bool) {
	for _, v := range s.Program.env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Replicas is how many there are; Operation.Replica counts from 0.
func (s *Stage) Replicas() int { return len(s.replicas) }

// Do carries out one operation as a user, and records what became of it.
func (s *Stage) Do(ctx context.Context, op Operation) error {
	r := s.replicas[op.Replica]
	w := &writer{seed: s.seed, replica: r, ledger: s.ledger, locks: s.locks[r.name]}
	return w.run(ctx, op)
}

// Reads reads a key at a replica, as a user does, with all of its bytes: which operation made them. 0 is absent.
func (s *Stage) Reads(ctx context.Context, replica int, key string) (op int, err error) {
	c, err := s.replicas[replica].get(ctx, key)
	if statusOf(err) == http.StatusNotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return identify(s.seed, c.body)
}

// Kept is what a replica keeps of the losers of a key's conflicts: the operations that made them.
func (s *Stage) Kept(ctx context.Context, replica int, key string) (ops []int, err error) {
	all, err := s.replicas[replica].list(ctx)
	if err != nil {
		return nil, err
	}
	for name := range all {
		if !strings.HasPrefix(name, conflictPrefix+key+"/") {
			continue
		}
		op, err := s.Reads(ctx, replica, name)
		if err != nil {
			return nil, err
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// Judge waits until the replicas are equal and judges every write of the stage so far.
func (s *Stage) Judge(ctx context.Context, progress io.Writer) (*Summary, error) {
	sum := &Summary{Seed: s.seed, State: s.state}
	settled, err := settle(ctx, s.seed, s.replicas, s.limit, progress)
	if err != nil {
		return nil, s.atFault(ctx, err)
	}
	sum.ConvergedAfter = settled.after.Seconds()
	return sum, s.check(ctx, settled, sum)
}

// DeadLetters asks bucketmesh for events that it gave up on: each is a fault.
func (s *Stage) DeadLetters(ctx context.Context, sum *Summary) error {
	return s.askDeadLetters(ctx, sum)
}

// Inspect asks bucketmesh itself (its program, not the one under test): its status, its events, its dead letters. It says how
// many conflicts there were.
func (s *Stage) Inspect(ctx context.Context, sum *Summary) (conflicts int, err error) {
	s.inspect(ctx, sum)
	var all []json.RawMessage
	err = s.ask(ctx, &all, "conflicts", "list", "--limit", "0")
	return len(all), err
}

// Fault is what a summary's report would say: that something was lost or at fault. Nil if all is well.
func (m *Summary) Fault() error { return m.report(io.Discard, "text") }
