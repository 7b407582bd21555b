package manifests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	"knative.dev/eventing/pkg/apis/feature"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// types are those that the API server, or Knative, decodes documents into, by group and kind.
var types = map[string]func() any{
	"/Namespace":                                func() any { return &corev1.Namespace{} },
	"/ServiceAccount":                           func() any { return &corev1.ServiceAccount{} },
	"/ConfigMap":                                func() any { return &corev1.ConfigMap{} },
	"apps/Deployment":                           func() any { return &appsv1.Deployment{} },
	"networking.k8s.io/NetworkPolicy":           func() any { return &networkingv1.NetworkPolicy{} },
	"serving.knative.dev/Service":               func() any { return &servingv1.Service{} },
	"eventing.knative.dev/Broker":               func() any { return &eventingv1.Broker{} },
	"eventing.knative.dev/Trigger":              func() any { return &eventingv1.Trigger{} },
	"sources.knative.dev/SinkBinding":           func() any { return &sourcesv1.SinkBinding{} },
	"sources.knative.dev/PingSource":            func() any { return &sourcesv1.PingSource{} },
	"eventing.knative.dev/RabbitmqBrokerConfig": func() any { return &rabbitmqBrokerConfig{} },
}

// rabbitmqBrokerConfig is what the definition in eventing-rabbitmq has; its module can't be had everywhere.
type rabbitmqBrokerConfig struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string            `json:"name"`
		Namespace string            `json:"namespace"`
		Labels    map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		QueueType string `json:"queueType"`
		Reference struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			Secret    *struct {
				Name string `json:"name"`
			} `json:"connectionSecret"`
		} `json:"rabbitmqClusterReference"`
	} `json:"spec"`
}

func (o object) decode() (any, []string) {
	made, ok := types[o.group()+"/"+o.str("kind")]
	if !ok {
		return nil, []string{fmt.Sprintf("%s: kind %s of %q is not known to this test", o, o.str("kind"), o.group())}
	}
	into := made()
	strict, err := strictjson.UnmarshalStrict(o.text, into)
	var problems []string
	for _, e := range append(strict, err) {
		if e != nil {
			problems = append(problems, fmt.Sprintf("%s: decode: %v", o, e))
		}
	}
	return into, problems
}

// definition is one version of a custom resource.
type definition struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
}

// moduleDir is where the module of Knative is that go.mod names.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("find module %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

// definitions reads Knative's own resource definitions, by apiVersion and kind.
func definitions(t *testing.T) map[string]definition {
	t.Helper()
	found := map[string]definition{}
	for _, pattern := range []string{
		filepath.Join(moduleDir(t, "knative.dev/serving"), "config", "core", "300-resources", "*.yaml"),
		filepath.Join(moduleDir(t, "knative.dev/eventing"), "config", "core", "resources", "*.yaml"),
	} {
		for name, text := range files(t, pattern) {
			var crd apiextensionsv1.CustomResourceDefinition
			if err := yaml.Unmarshal(text, &crd); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, v := range crd.Spec.Versions {
				if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
					continue
				}
				var props apiextensions.JSONSchemaProps
				if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				structural, err := schema.NewStructural(&props)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				validator, _, err := validation.NewSchemaValidator(&props)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				found[crd.Spec.Group+"/"+v.Name+" "+crd.Spec.Names.Kind] = definition{structural, validator}
			}
		}
	}
	if len(found) < 10 {
		t.Fatalf("only %d definitions of Knative's: %v", len(found), sorted(found))
	}
	return found
}

// against holds an object against its definition. Fields that the definition does not have would be dropped by the API server.
func (d definition) against(o object) []string {
	var problems []string
	if err := validation.ValidateCustomResource(nil, o.content, d.validator).ToAggregate(); err != nil {
		problems = append(problems, fmt.Sprintf("%s: schema: %v", o, err))
	}
	var content map[string]any
	if err := json.Unmarshal(o.text, &content); err != nil {
		return append(problems, err.Error())
	}
	unknown := pruning.PruneWithOptions(content, d.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		problems = append(problems, fmt.Sprintf("%s: schema: unknown field %s", o, path))
	}
	return problems
}

// features is the context that Knative's webhooks validate in, with the features of a fresh installation.
func features(t *testing.T) context.Context {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleDir(t, "knative.dev/eventing"), "config", "core", "configmaps", "features.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var m corev1.ConfigMap
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	flags, err := feature.NewFlagsConfigFromConfigMap(&m)
	if err != nil {
		t.Fatal(err)
	}
	return apis.WithinCreate(feature.ToContext(t.Context(), flags))
}

// judge has an object decoded, held against its definition, and validated as Knative's webhook does.
func judge(ctx context.Context, definitions map[string]definition, o object) []string {
	typed, problems := o.decode()
	if d, ok := definitions[o.str("apiVersion")+" "+o.str("kind")]; ok {
		problems = append(problems, d.against(o)...)
	} else if strings.HasSuffix(o.group(), "knative.dev") && o.str("kind") != "RabbitmqBrokerConfig" {
		problems = append(problems, fmt.Sprintf("%s: Knative defines no %s %s", o, o.str("apiVersion"), o.str("kind")))
	}
	if d, ok := typed.(apis.Defaultable); ok {
		d.SetDefaults(ctx)
	}
	if v, ok := typed.(apis.Validatable); ok {
		if err := v.Validate(ctx); err != nil {
			problems = append(problems, fmt.Sprintf("%s: Knative refuses it: %v", o, err))
		}
	}
	return problems
}

func TestManifestsAreValid(t *testing.T) {
	ctx, known := features(t), definitions(t)
	for name, set := range sets(t) {
		for _, o := range set {
			for _, p := range judge(ctx, known, o) {
				t.Errorf("%s: %s", name, p)
			}
		}
	}
	// Cloud Run takes Knative's format, and names things after it that a cluster would not.
	for _, o := range parseAll(t, files(t, filepath.Join(root, "deploy", "cloudrun", "*.yaml"))) {
		_, problems := o.decode()
		for _, p := range append(problems, known["serving.knative.dev/v1 Service"].against(o)...) {
			t.Errorf("deploy/cloudrun: %s", p)
		}
	}
}

// What is wrong is found: by each of the judges.
func TestInvalidManifestsAreFound(t *testing.T) {
	ctx, known, texts := features(t), definitions(t), base(t)
	for name, c := range map[string]struct{ file, old, with, want string }{
		"unknown field of a Service":     {"500-sync.yaml", "timeoutSeconds:", "timeoutSecond:", `unknown field`},
		"unknown field of a policy":      {"300-networkpolicies.yaml", "podSelector: {}", "podSelektor: {}", `unknown field`},
		"unknown dialect of a filter":    {"600-triggers.yaml", "- exact:", "- exakt:", `unknown field`},
		"text for a number":              {"600-triggers.yaml", "retry: 78", `retry: "78"`, "decode"},
		"no such policy":                 {"600-triggers.yaml", "backoffPolicy: linear", "backoffPolicy: constant", "Knative refuses it"},
		"no duration":                    {"600-triggers.yaml", "timeout: PT10M", "timeout: 10m", "Knative refuses it"},
		"a field behind a feature":       {"600-triggers.yaml", "timeout: PT10M", "retryAfterMax: PT10S", "must not set the field(s): spec.delivery.retryAfterMax"},
		"a trigger without a broker":     {"600-triggers.yaml", "broker: bucketmesh", "broker: ''", "Knative refuses it"},
		"a schedule":                     {"600-timers.yaml", "*/10 * * * *", "every ten minutes", "Knative refuses it"},
		"more than the cluster's limit":  {"500-sync.yaml", "timeoutSeconds: 600", "timeoutSeconds: 601", "Knative refuses it"},
		"a volume that Knative has not":  {"500-sync.yaml", "configMap: {name: bucketmesh-group, optional: true}", "hostPath: {path: /etc}", "Knative refuses it"},
		"a version that Knative has not": {"400-broker.yaml", "eventing.knative.dev/v1\n", "eventing.knative.dev/v7\n", "Knative defines no"},
		"a kind that nobody has":         {"400-broker.yaml", "kind: Broker", "kind: Boker", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			var problems []string
			for _, o := range parseAll(t, replaced(t, texts, c.file, c.old, c.with)) {
				problems = append(problems, judge(ctx, known, o)...)
			}
			if all := strings.Join(problems, "\n"); !strings.Contains(all, c.want) {
				t.Errorf("found %q, want %q", all, c.want)
			}
		})
	}
}
