package e2e

import (
	"context"
	"fmt"
	"net/url"

	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
)

// duplicates is how many of the events of Azure come twice.
const duplicates = 0.05

// gridCounts are what became of Azure's events.
type gridCounts struct {
	Delivered  int `json:"delivered"`
	Duplicated int `json:"duplicated"`
	Retried    int `json:"retried"`
	Lost       int `json:"lost"`
}

// Clouds is a replica at each provider. The emulators of Cloud Storage and Azure are behind gates, which make them behave
// as the providers document it; users and bucketmesh see the gates only. Notifications come
//
//   - from MinIO and versitygw to the webhook
//   - from fake-gcs-server to Pub/Sub, whose subscription bucketmesh pulls
//   - for Azure from a stand-in for Event Grid to the webhook: Azurite sends nothing
func Clouds(ctx context.Context, s *Stage, env *environment) error {
	arns := []string{env.need("BUCKETMESH_E2E_MINIO_ARN_FAST"), env.need("BUCKETMESH_E2E_MINIO_ARN_DURABLE")}
	s.addS3(env, "minio-a", "minio", env.need("BUCKETMESH_TEST_MINIO_A"), true, arns...)
	s.addS3(env, "versitygw", "versitygw", env.need("BUCKETMESH_TEST_VERSITYGW"), false)
	gcs, pubsub, subscription := env.need("BUCKETMESH_TEST_GCS"), env.need("BUCKETMESH_TEST_PUBSUB"), env.need("BUCKETMESH_TEST_PUBSUB_SUBSCRIPTION")
	azurite, account, key := env.need("BUCKETMESH_TEST_AZURE_BLOB"), env.need("BUCKETMESH_TEST_AZURE_ACCOUNT"), env.need("BUCKETMESH_TEST_AZURE_KEY")
	token := env.need("BUCKETMESH_E2E_NOTIFY_TOKEN")
	if err := env.complete(); err != nil {
		return err
	}
	if err := s.addGCS(ctx, gcs, "127.0.0.1:0", subscription); err != nil {
		return err
	}
	s.Program.env = append(s.Program.env, "PUBSUB_EMULATOR_HOST="+pubsub, "BUCKETMESH_"+credentialsName+"_ACCOUNT_KEY="+key)
	webhook := "http://" + s.Program.listen + "/azure/azure?code=" + url.QueryEscape(token)
	return s.addAzure(ctx, azurite, account, key, "127.0.0.1:0", webhook)
}

// Pushed is a bucket at Cloud Storage and one at Azure, behind gates at addresses that are known beforehand. Notifications are
// pushed to URLs: from fake-gcs-server through Pub/Sub, for Azure from the stand-in for Event Grid.
func Pushed(ctx context.Context, s *Stage, env *environment) error {
	gcs, gcsGate, gcsWebhook := env.need("BUCKETMESH_TEST_GCS"), env.need("BUCKETMESH_E2E_GCS_GATE"), env.need("BUCKETMESH_E2E_GCS_WEBHOOK")
	pubsub, subscription := env.need("BUCKETMESH_TEST_PUBSUB"), env.need("BUCKETMESH_TEST_PUBSUB_SUBSCRIPTION")
	azurite, account, key := env.need("BUCKETMESH_TEST_AZURE_BLOB"), env.need("BUCKETMESH_TEST_AZURE_ACCOUNT"), env.need("BUCKETMESH_TEST_AZURE_KEY")
	azureGate, azureWebhook := env.need("BUCKETMESH_E2E_AZURE_GATE"), env.need("BUCKETMESH_E2E_AZURE_WEBHOOK")
	if err := env.complete(); err != nil {
		return err
	}
	s.Program.env = append(s.Program.env, "BUCKETMESH_"+credentialsName+"_ACCOUNT_KEY="+key)
	if err := s.addGCS(ctx, gcs, gcsGate, ""); err != nil {
		return err
	}
	if err := s.addAzure(ctx, azurite, account, key, azureGate, azureWebhook); err != nil {
		return err
	}
	return s.push(ctx, pubsub, subscription, gcsWebhook)
}

// addGCS puts a bucket on the stage. subscription is what bucketmesh pulls, "" if it is pushed.
func (s *Stage) addGCS(ctx context.Context, server, listen, subscription string) error {
	gate, err := emulator.NewGCS(server)
	if err != nil {
		return err
	}
	endpoint, stop, err := emulator.Serve(ctx, listen, gate)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, stop)
	b, err := newGCSBucket(ctx, "gcs", endpoint, s.name)
	if err != nil {
		return err
	}
	s.add(&replica{
		traits: traits{exact: true}, name: b.name, pull: subscription, bucket: b, from: endpoint + "/" + s.name,
		url: fmt.Sprintf("gs://%s?endpoint=%s", s.name, endpoint),
	})
	return nil
}

func (s *Stage) addAzure(ctx context.Context, server, account, key, listen, webhook string) error {
	const name = "azure"
	s.grid = emulator.NewEventGrid(emulator.EventGridConfig{Webhook: webhook, Account: account, Seed: s.seed, Duplicates: duplicates})
	s.stops = append(s.stops, func() error { s.grid.Close(); return nil })
	gate, err := emulator.NewAzure(server, account, key, s.grid.Publish)
	if err != nil {
		return err
	}
	endpoint, stop, err := emulator.Serve(ctx, listen, gate)
	if err != nil {
		return err
	}
	s.stops = append(s.stops, stop)
	b, err := newAzureBucket(name, endpoint, account, key, s.name)
	if err != nil {
		return err
	}
	s.add(&replica{
		traits: traits{exact: true}, name: name, bucket: b, from: endpoint + "/" + account + "/" + s.name,
		url: fmt.Sprintf("azblob://%s/%s?endpoint=%s&credentials=%s", account, s.name, endpoint, credentialsName),
	})
	return nil
}

// askGrid adds what became of Azure's events. One that was given up is a fault: bucketmesh refused it, or was away for minutes.
func (s *Stage) askGrid(m *Summary) {
	if s.grid == nil {
		return
	}
	st := s.grid.Stats()
	m.Grid = &gridCounts{st.Delivered, st.Duplicated, st.Retried, st.Lost}
	if st.Lost > 0 {
		m.Faults = append(m.Faults, fmt.Sprintf("%d events of Azure were refused or not taken in time", st.Lost))
	}
}
