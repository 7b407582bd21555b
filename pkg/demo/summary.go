package demo

import (
	"github.com/bucketmesh/bucketmesh/pkg/object"
)

// Summary is what a run was like. Its JSON is part of the interface of the command.
type Summary struct {
	Converged   bool            `json:"converged"` // all replicas are equal, and hold what was written last
	Lost        int             `json:"lost"`      // acknowledged contents that are nowhere
	Conflicts   int             `json:"conflicts"` // found, resolved, and seen in the replicas
	Changes     int             `json:"changes"`   // acknowledged
	Requests    object.Snapshot `json:"requests"`  // of the pipeline to all replicas
	Propagation Propagation     `json:"propagation"`
	Small       Cost            `json:"smallObjects"`

	Replicas       []ReplicaSummary  `json:"replicas"`
	ConflictsFound []ConflictSummary `json:"conflictsFound"`
	Differences    []string          `json:"differences"`
	Notes          []string          `json:"notes"` // what the demo could not show, and why
	LostContents   []string          `json:"lostContents"`

	Group          string `json:"group"`
	Seed           uint64 `json:"seed"`
	DurationMillis int64  `json:"durationMillis"` // of workload and check
}

// OK reports that everything is as promised, and that there was a conflict to show it on.
func (s *Summary) OK() bool { return s.Converged && s.Lost == 0 && s.Conflicts > 0 }

// Propagation is the time from the answer to a writer until the change was in the last of the other replicas. The large
// object is not in it.
type Propagation struct {
	Measured  int     `json:"measured"`
	P50Millis float64 `json:"p50Millis"`
	P99Millis float64 `json:"p99Millis"`
	MaxMillis float64 `json:"maxMillis"`
}

// Cost is what small new objects cost in requests.
type Cost struct {
	Changes  int             `json:"changes"`
	Requests object.Snapshot `json:"requests"`
	Ideal    object.Snapshot `json:"ideal"` // one GET, and one PUT for each other replica
}

func small(changes int, spent object.Snapshot, replicas int) Cost {
	n := int64(changes)
	return Cost{Changes: changes, Requests: spent, Ideal: object.Snapshot{Get: n, Put: n * int64(replicas-1)}}
}

// ReplicaSummary is one replica at the end.
type ReplicaSummary struct {
	Name     string       `json:"name"`
	Provider string       `json:"provider"` // s3, gcs or azblob
	Server   string       `json:"server"`   // that stands in for it: versitygw, fake-gcs-server or azurite
	Endpoint string       `json:"endpoint"`
	Bucket   string       `json:"bucket"`
	Objects  int          `json:"objects"` // conflict copies included
	Copies   int          `json:"conflictCopies"`
	Bytes    int64        `json:"bytes"`
	Written  map[Kind]int `json:"written"` // by users, here
}

// ConflictSummary is one conflict.
type ConflictSummary struct {
	ID             string  `json:"id"`
	Key            string  `json:"key"`
	Policy         string  `json:"policy"`
	WinnerAt       string  `json:"winnerAt"`
	Reason         string  `json:"reason"`
	Writes         []Write `json:"writes"`
	ResolvedMillis float64 `json:"resolvedMillis"` // from its detection
}

// Write is one of the writes that were in conflict.
type Write struct {
	Site   string `json:"site"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Copy   string `json:"copy,omitempty"` // where the content is kept; "": it won, and is the current one
}
