package knative

import (
	"fmt"
	"slices"

	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// sides is how many replicas a group has.
const sides = 2

// fleet is where the replicas are.
type fleet struct {
	open   e2e.Fleet
	names  [sides]string // as open orders them
	pushed bool          // at Cloud Storage and Azure, not at MinIO
}

func fleetOf(name string) (fleet, error) {
	all := map[string]fleet{
		"minios": {open: e2e.MinIOs, names: [sides]string{"minio-a", "minio-b"}},
		"clouds": {open: e2e.Pushed, names: [sides]string{"gcs", "azure"}, pushed: true},
	}
	f, ok := all[name]
	if !ok {
		return f, fmt.Errorf("--fleet %q: must be minios or clouds", name)
	}
	return f, nil
}

// scenarios of a run, all of them.
func (o *options) scenarios(f fleet) []scenario {
	if o.cluster {
		return onCluster(f)
	}
	return scenarios()
}

// names of all scenarios, here and on a cluster.
func scenarioNames() []string {
	var names []string
	for _, s := range slices.Concat(scenarios(), onCluster(fleet{})) {
		if !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}
