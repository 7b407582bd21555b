package broker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/rickb777/date/period"
	"sigs.k8s.io/yaml"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Defaults of a Trigger.
const (
	DefaultRetry         = 10
	DefaultBackoffDelay  = 200 * time.Millisecond
	DefaultRetryAfterMax = time.Minute
	DefaultTimeout       = 10 * time.Minute
	DefaultConcurrency   = 8
)

// Trigger subscribes a handler to events, as a Knative Trigger does. The zero value of a field is its default.
type Trigger struct {
	Name       string            // a DNS label; the durable name: what is pending belongs to it
	Subscriber string            // who handles: the subscriber's ref.name, or its uri. The broker does not read it
	Attributes map[string]string // spec.filter.attributes; overridden by Filters
	Filters    []Filter          // spec.filters: all of them must pass; none is everything

	Retry         int           // tries after the first one; negative is none
	BackoffPolicy BackoffPolicy // "" is exponential
	BackoffDelay  time.Duration // before the first retry
	RetryAfterMax time.Duration // a handler that asks for more time than this (errkind.After) gets this
	Timeout       time.Duration // of one try
	Concurrency   int           // handlers running at once
}

// BackoffPolicy says how the wait grows from one retry to the next.
type BackoffPolicy string

// The policies. The wait before retry n (from 1) is delay*2^(n-1) or delay*(n-1), without a bound, as in Knative: the first
// retry of the linear policy is at once.
const (
	Exponential BackoffPolicy = "exponential"
	Linear      BackoffPolicy = "linear"
)

// Filter is one element of a Knative Trigger's spec.filters: one dialect, or nothing, which matches everything.
type Filter struct {
	Exact  map[string]string `json:"exact,omitempty"`
	Prefix map[string]string `json:"prefix,omitempty"`
	Suffix map[string]string `json:"suffix,omitempty"`
	All    []Filter          `json:"all,omitempty"`
	Any    []Filter          `json:"any,omitempty"`
	Not    *Filter           `json:"not,omitempty"`
	CESQL  string            `json:"cesql,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler. It refuses unknown fields: a dialect that is spelled wrong would be an empty
// filter, which matches everything.
func (f *Filter) UnmarshalJSON(text []byte) error {
	type plain Filter // without this method
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode((*plain)(f))
}

// longest is where computed waits end: what would come later is nobody's plan, and must not overflow.
const longest = 365 * 24 * time.Hour

// Backoff is the wait before retry n, counted from 1. t has its defaults (ParseTriggers does not fill them in).
func (t Trigger) Backoff(n int) time.Duration {
	d := t.BackoffDelay
	if t.BackoffPolicy == Linear {
		if n > 1 && d > longest/time.Duration(n-1) {
			return longest
		}
		return d * time.Duration(n-1)
	}
	for range n - 1 {
		if d > longest/2 {
			return longest
		}
		d *= 2
	}
	return d
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// withDefaults fills in what is zero and refuses what can't be.
func (t Trigger) withDefaults() (Trigger, error) {
	if !dnsLabel.MatchString(t.Name) {
		return t, errkind.New(errkind.Invalid, "trigger name %q: must be a DNS label (a-z, 0-9, -)", t.Name)
	}
	if t.Retry == 0 {
		t.Retry = DefaultRetry
	}
	t.Retry = max(t.Retry, 0)
	switch t.BackoffPolicy {
	case "":
		t.BackoffPolicy = Exponential
	case Exponential, Linear:
	default:
		return t, errkind.New(errkind.Invalid, "trigger %s: backoffPolicy %q: must be exponential or linear", t.Name, t.BackoffPolicy)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"backoffDelay", &t.BackoffDelay, DefaultBackoffDelay},
		{"retryAfterMax", &t.RetryAfterMax, DefaultRetryAfterMax},
		{"timeout", &t.Timeout, DefaultTimeout},
	} {
		if *d.value < 0 {
			return t, errkind.New(errkind.Invalid, "trigger %s: %s %v: must not be negative", t.Name, d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	if t.Concurrency == 0 {
		t.Concurrency = DefaultConcurrency
	}
	if t.Concurrency < 1 || t.Concurrency > maxConcurrency {
		return t, errkind.New(errkind.Invalid, "trigger %s: concurrency %d: must be from 1 to %d", t.Name, t.Concurrency, maxConcurrency)
	}
	return t, nil
}

// document is what is read of a Knative Trigger manifest.
type document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Filter *struct {
			Attributes map[string]string `json:"attributes"`
		} `json:"filter"`
		Filters    []Filter `json:"filters"`
		Subscriber struct {
			Ref *struct {
				Name string `json:"name"`
			} `json:"ref"`
			URI string `json:"uri"`
		} `json:"subscriber"`
		Delivery *struct {
			Retry         *int          `json:"retry"`
			BackoffPolicy BackoffPolicy `json:"backoffPolicy"`
			BackoffDelay  string        `json:"backoffDelay"`
			Timeout       string        `json:"timeout"`
			RetryAfterMax string        `json:"retryAfterMax"`
		} `json:"delivery"`
	} `json:"spec"`
}

var separator = regexp.MustCompile(`(?m)^---([ \t].*)?\r?$`)

// ParseTriggers reads the Knative Triggers of a manifest, which may hold several documents; documents of another kind are
// passed over. The dead letter sink of a manifest is not read: this broker keeps dead letters itself. One thing differs from
// Knative: what a handler asks for (Retry-After) is always heeded here, and there only with a retryAfterMax, which
// Knative's webhook refuses unless a feature is on. What is wrong in a Trigger is an error of kind Invalid.
func ParseTriggers(r io.Reader) ([]Trigger, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read triggers: %w", err)
	}
	var triggers []Trigger
	for i, part := range separator.Split(string(text), -1) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		var d document
		if err := yaml.Unmarshal([]byte(part), &d); err != nil {
			return nil, errkind.New(errkind.Invalid, "parse triggers: document %d: %w", i+1, err)
		}
		if d.Kind != "Trigger" || !strings.HasPrefix(d.APIVersion, "eventing.knative.dev/") {
			continue
		}
		t, err := d.trigger()
		if err != nil {
			return nil, err
		}
		triggers = append(triggers, t)
	}
	return triggers, nil
}

func (d document) trigger() (Trigger, error) {
	t := Trigger{Name: d.Metadata.Name, Filters: d.Spec.Filters, Subscriber: d.Spec.Subscriber.URI}
	if d.Spec.Subscriber.Ref != nil {
		t.Subscriber = d.Spec.Subscriber.Ref.Name
	}
	if d.Spec.Filter != nil {
		t.Attributes = d.Spec.Filter.Attributes
	}
	if y := d.Spec.Delivery; y != nil {
		t.BackoffPolicy = y.BackoffPolicy
		if y.Retry != nil {
			if t.Retry = *y.Retry; t.Retry == 0 {
				t.Retry = -1 // written as 0 means none, not the default
			}
		}
		for _, f := range []struct {
			name, text string
			to         *time.Duration
		}{
			{"backoffDelay", y.BackoffDelay, &t.BackoffDelay},
			{"timeout", y.Timeout, &t.Timeout},
			{"retryAfterMax", y.RetryAfterMax, &t.RetryAfterMax},
		} {
			if f.text == "" {
				continue
			}
			p, err := period.Parse(f.text)
			if err != nil {
				return t, errkind.New(errkind.Invalid, "trigger %s: spec.delivery.%s %q: must be an ISO 8601 duration such as PT1S: %w", t.Name, f.name, f.text, err)
			}
			*f.to, _ = p.Duration()
		}
	}
	if _, err := t.withDefaults(); err != nil {
		return t, err
	}
	if _, err := compile(t); err != nil {
		return t, err
	}
	return t, nil
}
