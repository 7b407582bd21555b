package knative

import (
	"fmt"
	"strings"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"
	"sigs.k8s.io/yaml"

	"github.com/bucketmesh/bucketmesh/config"
	"github.com/bucketmesh/bucketmesh/pkg/broker"
	"github.com/bucketmesh/bucketmesh/pkg/event"
)

// filterCase is a Trigger's spec.filter and spec.filters.
type filterCase struct {
	name  string
	spec  string         // YAML
	ours  broker.Trigger // as pkg/broker reads it
	fixed bool           // one of config/
}

// tricky filters: what is easily understood in two ways.
const tricky = `
nothing: {}
empty-list: {filters: []}
empty-filter: {filters: [{}]}
exact: {filters: [{exact: {type: dev.bucketmesh.object.deleted.v1}}]}
exact-two: {filters: [{exact: {type: dev.bucketmesh.object.written.v1, storeprovider: s3}}]}
exact-one-differs: {filters: [{exact: {type: dev.bucketmesh.object.written.v1, storeprovider: gcs}}]}
exact-missing-extension: {filters: [{exact: {syncgroup: media}}]}
exact-missing-attribute: {filters: [{exact: {subject: photos/a.jpg}}]}
exact-case: {filters: [{exact: {type: DEV.bucketmesh.object.written.v1}}]}
exact-number: {filters: [{exact: {number: "7"}}]}
exact-time: {filters: [{exact: {time: "2026-01-01T00:00:00Z"}}]}
exact-specversion: {filters: [{exact: {specversion: "1.0"}}]}
exact-datacontenttype: {filters: [{exact: {datacontenttype: application/json}}]}
prefix: {filters: [{prefix: {type: dev.bucketmesh.object.}}]}
prefix-whole: {filters: [{prefix: {type: dev.bucketmesh.object.written.v1}}]}
prefix-missing: {filters: [{prefix: {subject: photos/}}]}
prefix-two: {filters: [{prefix: {type: dev.bucketmesh., subject: tmp/}}]}
suffix: {filters: [{suffix: {subject: .jpg}}]}
suffix-missing-extension: {filters: [{suffix: {storeprovider: "3"}}]}
list: {filters: [{prefix: {type: dev.bucketmesh.object.}}, {exact: {storeprovider: gcs}}]}
list-with-empty: {filters: [{exact: {storeprovider: s3}}, {}]}
all: {filters: [{all: [{prefix: {type: dev.bucketmesh.object.}}, {suffix: {subject: /b}}]}]}
all-of-one: {filters: [{all: [{exact: {storeprovider: s3}}]}]}
all-with-empty: {filters: [{all: [{}, {exact: {storeprovider: s3}}]}]}
any: {filters: [{any: [{prefix: {type: dev.bucketmesh.conflict.}}, {suffix: {subject: .jpg}}]}]}
any-of-none-there: {filters: [{any: [{exact: {nosuch: a}}, {prefix: {nosuch: b}}]}]}
any-with-empty: {filters: [{any: [{exact: {type: none}}, {}]}]}
not: {filters: [{not: {prefix: {type: dev.bucketmesh.object.}}}]}
not-missing-extension: {filters: [{not: {exact: {syncgroup: media}}}]}
not-not: {filters: [{not: {not: {exact: {storeprovider: s3}}}}]}
not-any: {filters: [{not: {any: [{exact: {storeprovider: s3}}, {exact: {storeprovider: gcs}}]}}]}
nested: {filters: [{any: [{all: [{prefix: {type: dev.bucketmesh.object.}}, {not: {prefix: {subject: tmp/}}}]}, {cesql: EXISTS syncgroup}]}]}
cesql: {filters: [{cesql: "type LIKE '%.deleted.%' AND subject LIKE 'tmp/%'"}]}
cesql-missing: {filters: [{cesql: "syncgroup = 'media'"}]}
cesql-exists: {filters: [{cesql: "EXISTS storeprovider AND NOT EXISTS syncgroup"}]}
cesql-in: {filters: [{cesql: "storeprovider IN ('gcs', 'azure')"}]}
cesql-number: {filters: [{cesql: "INT(number) > 6"}]}
cesql-false: {filters: [{cesql: "FALSE"}]}
filter: {filter: {attributes: {type: dev.bucketmesh.object.written.v1}}}
filter-two: {filter: {attributes: {type: dev.bucketmesh.object.written.v1, storeprovider: gcs}}}
filter-any-value: {filter: {attributes: {subject: ""}}}
filter-missing: {filter: {attributes: {syncgroup: media}}}
filter-nothing: {filter: {attributes: {}}}
filters-override: {filter: {attributes: {type: dev.bucketmesh.object.written.v1}}, filters: [{exact: {storeprovider: gcs}}]}
empty-filters-do-not: {filter: {attributes: {type: dev.bucketmesh.object.written.v1}}, filters: []}
`

// filterCases are the Triggers of config/ and the tricky ones.
func filterCases() ([]filterCase, error) {
	var specs map[string]any
	if err := yaml.Unmarshal([]byte(tricky), &specs); err != nil {
		return nil, fmt.Errorf("read tricky filters: %w", err)
	}
	var cases []filterCase
	for name, spec := range specs {
		text, err := yaml.Marshal(spec)
		if err != nil {
			return nil, fmt.Errorf("write filter %s: %w", name, err)
		}
		cases = append(cases, filterCase{name: name, spec: string(text)})
	}
	fixed, err := documents(config.Triggers())
	if err != nil {
		return nil, err
	}
	for _, d := range fixed {
		only := map[string]any{}
		for _, field := range []string{"filter", "filters"} {
			if v := d.spec()[field]; v != nil {
				only[field] = v
			}
		}
		text, err := yaml.Marshal(only)
		if err != nil {
			return nil, fmt.Errorf("write filter of %s: %w", d.name(), err)
		}
		cases = append(cases, filterCase{name: "config-" + d.name(), spec: string(text), fixed: true})
	}
	for i := range cases {
		t, err := broker.ParseTriggers(strings.NewReader(cases[i].manifest("x", "http://x")))
		if err != nil || len(t) != 1 {
			return nil, fmt.Errorf("read trigger %s: %d of them, %w", cases[i].name, len(t), err)
		}
		cases[i].ours = t[0]
	}
	return cases, nil
}

// manifest is the Trigger.
func (c filterCase) manifest(namespace, subscriber string) string {
	spec := "  " + strings.ReplaceAll(strings.TrimSpace(c.spec), "\n", "\n  ")
	if spec == "  {}" {
		spec = ""
	}
	return fmt.Sprintf("apiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata:\n  name: %s\n  namespace: %s\n  labels: {eventing.knative.dev/broker: filters}\n"+
		"spec:\n  broker: filters\n  subscriber: {uri: %q}\n%s\n", c.name, namespace, subscriber, spec)
}

// filterEvents are every type that there is, and events that lack attributes or have others; by id.
func filterEvents() map[string]cloudevents.Event {
	all := map[string]cloudevents.Event{}
	add := func(id, typ string, change func(e *cloudevents.Event)) {
		e := cloudevents.New()
		e.SetID(id)
		e.SetType(typ)
		e.SetSource("test")
		change(&e)
		all[id] = e
	}
	for _, typ := range append(event.Types(), event.Ping, "com.example.other", event.Prefix+"object", "x."+event.ObjectWritten, event.ObjectWritten+"1") {
		add("plain "+typ, typ, func(e *cloudevents.Event) { e.SetSubject("k") })
	}
	add("written", event.ObjectWritten, func(e *cloudevents.Event) {
		e.SetSubject("photos/a.jpg")
		e.SetExtension("storeprovider", "s3")
		_ = e.SetData("application/json", map[string]int{"n": 1}) // can be encoded
	})
	add("deleted", event.ObjectDeleted, func(e *cloudevents.Event) {
		e.SetSubject("tmp/b")
		e.SetTime(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		e.SetExtension("storeprovider", "gcs")
	})
	add("conflict", event.ConflictDetected, func(e *cloudevents.Event) {
		e.SetExtension("syncgroup", "media")
		e.SetExtension("number", 7)
	})
	add("bare", "bare", func(*cloudevents.Event) {})
	return all
}
