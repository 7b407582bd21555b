package knative

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// document of a manifest.
type document map[string]any

var separator = regexp.MustCompile(`(?m)^---([ \t].*)?\r?$`)

// documents reads a manifest.
func documents(text string) ([]document, error) {
	var all []document
	for _, part := range separator.Split(text, -1) {
		var d document
		if err := yaml.Unmarshal([]byte(part), &d); err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		if len(d) > 0 {
			all = append(all, d)
		}
	}
	return all, nil
}

// object is a field that holds fields; it is empty where there is none.
func object(parent map[string]any, name string) map[string]any {
	o, _ := parent[name].(map[string]any)
	return o
}

func (d document) kind() string { k, _ := d["kind"].(string); return k }

func (d document) name() string { n, _ := object(d, "metadata")["name"].(string); return n }

func (d document) spec() map[string]any { return object(d, "spec") }

// printManifests prints the Broker and the Triggers of config/. What is changed is what needs Knative Services or webhooks: who is
// meant by a reference to a Service is written out as its address, and the label that a webhook would set is set.
func printManifests(out io.Writer, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return fmt.Errorf("look for manifests: %w", err)
	}
	brokers, triggers := 0, 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		all, err := documents(string(text))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, d := range all {
			switch d.kind() {
			case "Namespace":
			case "Broker":
				brokers++
			case "Trigger":
				triggers++
				if err := d.resolve(); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			default:
				continue
			}
			text, err := yaml.Marshal(d)
			if err != nil {
				return fmt.Errorf("write manifest: %w", err)
			}
			fmt.Fprintf(out, "---\n%s", text)
		}
	}
	if brokers != 1 || triggers == 0 {
		return fmt.Errorf("%s has %d Brokers and %d Triggers, and must have one and some", dir, brokers, triggers)
	}
	return nil
}

// resolve writes out the addresses in a Trigger.
func (d document) resolve() error {
	labels := object(object(d, "metadata"), "labels")
	if labels == nil {
		labels = map[string]any{}
		object(d, "metadata")["labels"] = labels
	}
	labels["eventing.knative.dev/broker"] = d.spec()["broker"]
	namespace, _ := object(d, "metadata")["namespace"].(string)
	if err := address(object(d.spec(), "subscriber"), namespace); err != nil {
		return fmt.Errorf("subscriber of %s: %w", d.name(), err)
	}
	if sink := object(object(d.spec(), "delivery"), "deadLetterSink"); sink != nil {
		if err := address(sink, namespace); err != nil {
			return fmt.Errorf("dead letter sink of %s: %w", d.name(), err)
		}
	}
	return nil
}

// address writes out who is meant by a reference to a Knative Service.
func address(to map[string]any, namespace string) error {
	ref := object(to, "ref")
	name, _ := ref["name"].(string)
	group, _ := ref["apiVersion"].(string)
	if ref["kind"] != "Service" || !strings.HasPrefix(group, "serving.knative.dev/") || name == "" || namespace == "" {
		return errors.New("no reference to a Knative Service")
	}
	delete(to, "ref")
	path, _ := to["uri"].(string)
	to["uri"] = "http://" + name + "." + namespace + ".svc.cluster.local" + path
	return nil
}
