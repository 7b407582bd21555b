package azure_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/azure"
)

// No server at hand speaks Azure's management. documentedARM is a local HTTPS server that keeps the event subscriptions of one
// storage account after its documentation (Event Grid, API version 2022-06-15): it hides the query of a webhook's URL and the
// values of secret delivery attributes, replaces a subscription as a whole, and makes it in a long-running operation.

const (
	account = "/subscriptions/1111/resourceGroups/mesh/providers/Microsoft.Storage/storageAccounts/mediaaz"
	events  = account + "/providers/Microsoft.EventGrid/eventSubscriptions"
	queue   = account + "/queueServices/default/queues/changes"
	webhook = "https://mesh.example.com/azure/az"
	ourID   = "bucketmesh-media-az"
	secret  = "top/secret+value"
)

type object = map[string]any

type documentedARM struct {
	*httptest.Server

	mu      sync.Mutex
	subs    map[string]object // by name, with properties as they were put
	polls   int               // an operation takes so many looks
	left    int
	outcome string // JSON of an operation that ended; "": it succeeded
	deny    string // a request whose path ends so is refused with 403
	puts    int
	deletes int
}

func newARM(t *testing.T) *documentedARM {
	t.Helper()
	a := &documentedARM{subs: map[string]object{}, polls: 2}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(a.Close)
	return a
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	answer(w, status, object{"error": object{"code": code, "message": message}})
}

func (a *documentedARM) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, events+"/")
	switch {
	case r.Header.Get("Authorization") != "Bearer token-of-the-test":
		refuse(w, http.StatusUnauthorized, "InvalidAuthenticationToken", "no")
	case a.deny != "" && strings.HasSuffix(r.URL.Path, a.deny):
		refuse(w, http.StatusForbidden, "AuthorizationFailed", "the client has no authorization to perform this action")
	case r.URL.Path == "/operation":
		a.operation(w)
	case r.URL.Path == "/gone":
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Query().Get("api-version") != "2022-06-15":
		refuse(w, http.StatusBadRequest, "InvalidApiVersion", r.URL.String())
	case r.URL.Path == events && r.Method == http.MethodGet:
		a.list(w, r)
	case strings.HasSuffix(name, "/getFullUrl") && r.Method == http.MethodPost:
		a.full(w, strings.TrimSuffix(name, "/getFullUrl"))
	case strings.HasSuffix(name, "/getDeliveryAttributes") && r.Method == http.MethodPost:
		hook, _ := a.hook(strings.TrimSuffix(name, "/getDeliveryAttributes"))
		answer(w, http.StatusOK, object{"value": hook["deliveryAttributeMappings"]})
	case strings.Contains(name, "/"):
		refuse(w, http.StatusNotFound, "ResourceNotFound", r.URL.Path)
	case r.Method == http.MethodPut:
		a.put(w, r, name)
	case a.subs[name] == nil && r.Method == http.MethodGet:
		refuse(w, http.StatusNotFound, "ResourceNotFound", "not found")
	case r.Method == http.MethodGet:
		answer(w, http.StatusOK, shown(name, a.subs[name]))
	case r.Method == http.MethodDelete:
		a.deletes++
		delete(a.subs, name)
		a.left = a.polls
		w.Header().Set("Azure-AsyncOperation", a.URL+"/operation")
		w.Header().Set("Location", a.URL+"/gone")
		w.WriteHeader(http.StatusAccepted)
	}
}

func (a *documentedARM) operation(w http.ResponseWriter) {
	if a.left--; a.left > 0 {
		answer(w, http.StatusOK, object{"status": "InProgress"})
		return
	}
	if a.outcome != "" {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, a.outcome)
		return
	}
	answer(w, http.StatusOK, object{"status": "Succeeded"})
}

func (a *documentedARM) put(w http.ResponseWriter, r *http.Request, name string) {
	var in object
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "InvalidRequest", err.Error())
		return
	}
	props, _ := in["properties"].(object)
	for _, theirs := range []string{"provisioningState", "topic"} {
		if props[theirs] != nil {
			refuse(w, http.StatusBadRequest, "InvalidRequest", theirs+" is read-only")
			return
		}
	}
	a.puts++
	a.left = a.polls
	if a.outcome == "" {
		a.subs[name] = props
	}
	w.Header().Set("Azure-AsyncOperation", a.URL+"/operation")
	out := shown(name, props)
	out["properties"].(object)["provisioningState"] = "Creating"
	answer(w, http.StatusCreated, out)
}

// list answers one subscription a page.
func (a *documentedARM) list(w http.ResponseWriter, r *http.Request) {
	names := slices.Sorted(maps.Keys(a.subs))
	n := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("page"), &n)
	out := object{"value": []any{}}
	if n < len(names) {
		out["value"] = []any{shown(names[n], a.subs[names[n]])}
	}
	if n+1 < len(names) {
		out["nextLink"] = fmt.Sprintf("%s%s?api-version=2022-06-15&page=%d", a.URL, events, n+1)
	}
	answer(w, http.StatusOK, out)
}

// hook is the properties of a webhook, as they were put.
func (a *documentedARM) hook(name string) (object, bool) {
	if a.subs[name] == nil {
		return nil, false
	}
	d, _ := a.subs[name]["destination"].(object)
	if d == nil {
		with, _ := a.subs[name]["deliveryWithResourceIdentity"].(object)
		d, _ = with["destination"].(object)
	}
	p, ok := d["properties"].(object)
	return p, ok
}

func (a *documentedARM) full(w http.ResponseWriter, name string) {
	hook, ok := a.hook(name)
	if !ok {
		refuse(w, http.StatusNotFound, "ResourceNotFound", "not found")
		return
	}
	answer(w, http.StatusOK, object{"endpointUrl": hook["endpointUrl"]})
}

// shown is a subscription as a GET shows it.
func shown(name string, props object) object {
	text, _ := json.Marshal(props)
	var p object
	_ = json.Unmarshal(text, &p)
	if p["provisioningState"] == nil {
		p["provisioningState"] = "Succeeded"
	}
	p["topic"] = account
	d, _ := p["destination"].(object)
	if d == nil {
		with, _ := p["deliveryWithResourceIdentity"].(object)
		d, _ = with["destination"].(object)
	}
	if hook, ok := d["properties"].(object); ok {
		if full, ok := hook["endpointUrl"].(string); ok {
			u, _ := url.Parse(full)
			u.RawQuery = ""
			hook["endpointBaseUrl"], hook["endpointUrl"] = u.String(), nil
		}
		mappings, _ := hook["deliveryAttributeMappings"].([]any)
		for _, m := range mappings {
			if of, _ := m.(object)["properties"].(object); of["isSecret"] == true {
				of["value"] = nil
			}
		}
	}
	return object{"id": events + "/" + name, "name": name, "type": "Microsoft.EventGrid/eventSubscriptions", "properties": p}
}

// set puts a subscription in its place, as JSON of its properties.
func (a *documentedARM) set(t *testing.T, name, properties string) {
	t.Helper()
	var p object
	if err := json.Unmarshal([]byte(properties), &p); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.subs[name] = p
}

// state is everything that is there, in one text.
func (a *documentedARM) state(t *testing.T) string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	text, err := json.MarshalIndent(a.subs, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// of is one subscription, "null" if it is not there.
func (a *documentedARM) of(t *testing.T, name string) string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	text, err := json.Marshal(a.subs[name])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// token is a credential that needs nobody.
type token struct{}

// GetToken implements azcore.TokenCredential.
func (token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token-of-the-test", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func (a *documentedARM) config() azure.Config {
	return azure.Config{
		ID: ourID, Tokens: []string{secret, "older"}, Credential: token{}, PollEvery: time.Millisecond,
		ClientOptions: arm.ClientOptions{ClientOptions: policy.ClientOptions{
			Transport: a.Client(), Retry: policy.RetryOptions{MaxRetries: -1},
			Cloud: cloud.Configuration{Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
				cloud.ResourceManager: {Endpoint: a.URL, Audience: "https://management.example.com"},
			}},
		}},
		Replica: config.Replica{
			Name: "az", Provider: "azblob", Account: "mediaaz", Bucket: "media", Prefix: "docs/",
			Notifications: config.Notifications{Target: webhook, Scope: account},
		},
	}
}

func (a *documentedARM) open(t *testing.T, change ...func(*azure.Config)) *azure.Container {
	t.Helper()
	cfg := a.config()
	for _, c := range change {
		c(&cfg)
	}
	c, err := azure.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
