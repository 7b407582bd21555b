package gcs

import (
	"encoding/json"
	"net/http"
	"os"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object/internal/transport"
)

// authorized is a client that sends what next sends, with a token where the bucket needs one.
func authorized(cfg Config, next http.RoundTripper) (*http.Client, error) {
	if cfg.Endpoint != "" && cfg.CredentialsFile == "" {
		return &http.Client{Transport: next}, nil
	}
	creds, err := findCredentials(cfg)
	if err != nil {
		return nil, err
	}
	hc, err := httptransport.NewClient(&httptransport.Options{Credentials: creds, BaseRoundTripper: next, DisableTelemetry: true})
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "open gcs bucket: use credentials: %w", err)
	}
	return hc, nil
}

// findCredentials sends no request (Google's own chain may ask the machine's metadata server whether it is there). Errors name
// the file and never what is in it.
func findCredentials(cfg Config) (*auth.Credentials, error) {
	// Tokens are fetched by a client of their own: they are no requests to the bucket.
	opts := &credentials.DetectOptions{
		Scopes: []string{storage.ScopeReadWrite},
		Client: &http.Client{Transport: transport.New(cfg.RequestTimeout, cfg.MaxConnections), Timeout: cfg.RequestTimeout},
	}
	if cfg.CredentialsFile == "" {
		creds, err := credentials.DetectDefault(opts)
		if err != nil {
			return nil, errkind.New(errkind.PermissionDenied, "open gcs bucket: find credentials: %w", err)
		}
		return creds, nil
	}
	content, err := os.ReadFile(cfg.CredentialsFile)
	if err != nil {
		return nil, errkind.New(errkind.PermissionDenied, "open gcs bucket: read credentials file: %w", err)
	}
	var file struct {
		Type credentials.CredType `json:"type"`
	}
	if json.Unmarshal(content, &file) != nil {
		return nil, errkind.New(errkind.Invalid, "open gcs bucket: the credentials file %s is not JSON", cfg.CredentialsFile)
	}
	if file.Type != credentials.ServiceAccount && file.Type != credentials.ExternalAccount {
		return nil, errkind.New(errkind.Invalid, "open gcs bucket: the credentials file %s has the type %q: use a service account's "+
			"(service_account) or a workload identity's (external_account)", cfg.CredentialsFile, file.Type)
	}
	creds, err := credentials.NewCredentialsFromJSON(file.Type, content, opts)
	if err != nil { // the library's words may quote the file
		return nil, errkind.New(errkind.Invalid, "open gcs bucket: the credentials file %s is not a valid %s", cfg.CredentialsFile, file.Type)
	}
	return creds, nil
}
