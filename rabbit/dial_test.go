package rabbit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/anyqueue/anyqueue/broker"
	"github.com/anyqueue/anyqueue/internal/faultlab"
)

// onBothLines runs a test on a real server of each line. prefix begins the names
// of the variables that tell of it.
func onBothLines(t *testing.T, test func(t *testing.T, server string)) {
	t.Helper()
	for _, server := range []string{"rabbitmq", "rabbitmq4"} {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			test(t, server)
		})
	}
}

// tell returns a variable that tells of a server.
func tell(t *testing.T, server, what string) string {
	t.Helper()
	return faultlab.Need(t, "ANYQUEUE_"+strings.ToUpper(server)+"_"+what)
}

// at returns settings that lead to a server.
func at(t *testing.T, server string) Settings {
	t.Helper()
	return Settings{URL: broker.NewSecret(tell(t, server, "URL"))}
}

// change returns a server's URL with something else in it.
func change(t *testing.T, text string, edit func(*url.URL)) broker.Secret {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal("the variable holds no URL")
	}
	edit(u)
	return broker.NewSecret(u.String())
}

// patient is a DialTimeout for a machine that is busy with other tests.
const patient = 30 * time.Second

func hostOf(t *testing.T, text string) string {
	t.Helper()
	target, problem := parseURL(text)
	if problem != "" {
		t.Fatal(problem)
	}
	return target.address
}

// wantRefused dials and wants an error of a category that says all of texts, and
// no password.
func wantRefused(t *testing.T, s Settings, category error, texts ...string) error {
	t.Helper()
	c, _, err := mustDialer(t, s).dial(t.Context(), "test")
	if err == nil {
		_ = c.Close()
		t.Fatal("connected")
	}
	if !errors.Is(err, category) {
		t.Errorf("%v is not %v", err, category)
	}
	for _, other := range categories {
		if !errors.Is(other, category) && errors.Is(err, other) {
			t.Errorf("%v is %v too", err, other)
		}
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v\ndoes not say %q", err, text)
		}
	}
	target, _ := parseURL(s.URL.Reveal())
	if p := target.password.Reveal(); p != "" && strings.Contains(err.Error(), p) {
		t.Errorf("the error shows the password: %v", err)
	}
	return err
}

func wantConnected(t *testing.T, s Settings) {
	t.Helper()
	d := mustDialer(t, s)
	wantDial(t, d)
}

func wantDial(t *testing.T, d *dialer) {
	t.Helper()
	c, network, err := d.dial(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ch, err := c.Channel()
	if err != nil {
		t.Errorf("the connection opens no channel: %v", err)
	} else if err := ch.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	_ = network.Close()
}

// A connection works, bears its name, and outlives the deadline of its handshake.
func TestConnectionWorks(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		s.DialTimeout = 1500 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		c, network, err := mustDialer(t, s).dial(ctx, "test of names")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = network.Close() }()
		cancel() // the context bounds the dialling, not the connection
		if got := c.Config.Properties["connection_name"]; got != "anyqueue test of names" {
			t.Errorf("the connection is named %v", got)
		}
		if c.Config.Heartbeat != DefaultHeartbeat || c.Config.FrameSize != 128<<10 {
			t.Errorf("heartbeat %s, frames of %d", c.Config.Heartbeat, c.Config.FrameSize)
		}
		timer := time.NewTimer(2 * s.DialTimeout)
		defer timer.Stop()
		select {
		case err := <-c.NotifyClose(make(chan *amqp.Error, 1)):
			t.Errorf("the connection ended: %v", err)
		case <-timer.C:
		}
		if ch, err := c.Channel(); err != nil {
			t.Error(err)
		} else {
			_ = ch.Close()
		}
		_ = c.Close()
	})
}

// Wrong credentials are told from a server that is away: they are final.
func TestWrongPasswordIsAccessDenied(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wr0ng-password") })
		s.DialTimeout = patient
		err := wantRefused(t, s, broker.ErrAccessDenied, "user or password are wrong", hostOf(t, s.URL.Reveal()))
		if !final(err) {
			t.Errorf("%v is not final", err)
		}
		if _, ok := errors.AsType[*amqp.Error](err); !ok {
			t.Errorf("%v does not lead to the client's error", err)
		}
	})
}

// With less patience than a server takes to answer a wrong password, that is a
// timeout, and the error does not claim to know more.
func TestImpatientDialDoesNotBlameThePassword(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "wr0ng-password") })
		s.DialTimeout = 2500 * time.Millisecond
		wantRefused(t, s, broker.ErrDisconnected, "did not finish the login within 2.5s", "only after 3s")
	})
}

// A vhost that is not there is named, with what to do.
func TestMissingVHostIsFinal(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Path = "/no such vhost" })
		err := wantRefused(t, s, broker.ErrAccessDenied, "no such vhost", "AMQP 530", "create the vhost")
		if !final(err) {
			t.Errorf("%v is not final", err)
		}
	})
}

// A changed password file lets the same dialer in.
func TestRotatedPasswordIsPickedUp(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		file := filepath.Join(t.TempDir(), "password")
		var user, password string
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) {
			user = u.User.Username()
			password, _ = u.User.Password()
			u.User = nil
		})
		s.Username, s.PasswordFile, s.DialTimeout = user, file, patient
		d := mustDialer(t, s)
		write(t, file, "old\n")
		if _, _, err := d.dial(t.Context(), "test"); !errors.Is(err, broker.ErrAccessDenied) {
			t.Errorf("with the old password: %v", err)
		}
		write(t, file, password+"\n")
		wantDial(t, d)
	})
}

// TLS works with an authority of one's own, with and without a certificate of the
// client's; what is not trusted, or trusts not, is refused for good.
func TestTLS(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := Settings{URL: broker.NewSecret(tell(t, server, "TLS_URL"))}
		ca, cert, key := tell(t, server, "CA"), tell(t, server, "CERT"), tell(t, server, "KEY")
		t.Run("own authority", func(t *testing.T) {
			s := s
			s.TLS.CAFile = ca
			wantConnected(t, s)
		})
		t.Run("client certificate", func(t *testing.T) {
			s := s
			s.TLS = TLS{CAFile: ca, CertFile: cert, KeyFile: key}
			wantConnected(t, s)
		})
		t.Run("authority of the system", func(t *testing.T) {
			err := wantRefused(t, s, broker.ErrAccessDenied, "tls.ca_file")
			if !final(err) {
				t.Errorf("%v is not final", err)
			}
		})
		t.Run("authority of another server", func(t *testing.T) {
			other := map[string]string{"rabbitmq": "rabbitmq4", "rabbitmq4": "rabbitmq"}[server]
			s := s
			s.TLS.CAFile = tell(t, other, "CA")
			wantRefused(t, s, broker.ErrAccessDenied, "tls.ca_file")
		})
		t.Run("name that the certificate does not hold", func(t *testing.T) {
			s := s
			s.TLS = TLS{CAFile: ca, ServerName: "elsewhere.example"}
			wantRefused(t, s, broker.ErrAccessDenied, "elsewhere.example", "tls.server_name")
		})
		t.Run("client certificate of another authority", func(t *testing.T) {
			other := map[string]string{"rabbitmq": "rabbitmq4", "rabbitmq4": "rabbitmq"}[server]
			s := s
			s.TLS = TLS{CAFile: ca, CertFile: tell(t, other, "CERT"), KeyFile: tell(t, other, "KEY")}
			wantRefused(t, s, broker.ErrAccessDenied, "tls.cert_file")
		})
		t.Run("external without the plugin", func(t *testing.T) {
			s := s
			s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.User = nil })
			s.TLS, s.Auth = TLS{CAFile: ca, CertFile: cert, KeyFile: key}, AuthExternal
			wantRefused(t, s, broker.ErrAccessDenied, "rabbitmq_auth_mechanism_ssl")
		})
		t.Run("amqp to the port of TLS", func(t *testing.T) {
			s := s
			s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Scheme = "amqp" })
			wantRefused(t, s, broker.ErrInvalid, "write amqps://")
		})
		t.Run("amqps to the plain port", func(t *testing.T) {
			s := at(t, server)
			s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Scheme = "amqps" })
			wantRefused(t, s, broker.ErrInvalid, "write amqp://")
		})
	})
}

// deadAddress is a port at which nothing listens.
func deadAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// listen answers each connection with serve, which leaves it open when it
// returns; they are closed at the end of the test.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var open []net.Conn
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open = append(open, c)
			serve(c)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, c := range open {
			_ = c.Close()
		}
	})
	return l.Addr().String()
}

// What is no RabbitMQ, or none that answers, is told apart in time, and what may
// pass is not final.
func TestAddressesThatLeadNowhere(t *testing.T) {
	t.Parallel()
	silent := listen(t, func(net.Conn) {})
	hangsUp := listen(t, func(c net.Conn) { _ = c.Close() })
	web := listen(t, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	older := listen(t, func(c net.Conn) { _, _ = c.Write([]byte("AMQP\x01\x01\x00\x09")) })
	for name, c := range map[string]struct {
		url      string
		category error
		says     string
	}{
		"nothing listens":       {"amqp://" + deadAddress(t), broker.ErrDisconnected, "connection refused"},
		"unknown host":          {"amqp://nowhere.invalid", broker.ErrDisconnected, "nowhere.invalid"},
		"silent":                {"amqp://" + silent, broker.ErrDisconnected, "nothing was heard within 300ms"},
		"silent to TLS":         {"amqps://" + silent, broker.ErrDisconnected, "nothing was heard within 300ms"},
		"hangs up":              {"amqp://" + hangsUp, broker.ErrDisconnected, "127.0.0.1"},
		"speaks HTTP":           {"amqp://" + web, broker.ErrInvalid, `begins with "HTTP/1.1"`},
		"TLS to HTTP":           {"amqps://" + web, broker.ErrInvalid, "speaks no TLS"},
		"another AMQP":          {"amqp://" + older, broker.ErrInvalid, "does not speak AMQP 0-9-1"},
		"unknown host with TLS": {"amqps://nowhere.invalid", broker.ErrDisconnected, "nowhere.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			wantRefused(t, Settings{URL: broker.NewSecret(c.url), DialTimeout: 300 * time.Millisecond}, c.category, c.says)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A dead first address costs one attempt, and only once: the next dial begins
// with the address that worked.
func TestDeadFirstAddressIsPassedOver(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		alive := hostOf(t, s.URL.Reveal())
		tries := make(chan struct{}, 10)
		silent := listen(t, func(net.Conn) { tries <- struct{}{} })
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Host = silent })
		s.Addresses = []string{deadAddress(t), alive}
		s.DialTimeout = 500 * time.Millisecond
		d := mustDialer(t, s)
		wantDial(t, d)
		wantDial(t, d)
		if n := len(tries); n != 1 {
			t.Errorf("the silent address was tried %d times", n)
		}
	})
}

// When no address works the error names each with its own cause, and it is final
// only if every cause is.
func TestErrorNamesEveryAddress(t *testing.T) {
	t.Parallel()
	dead, web := deadAddress(t), listen(t, func(c net.Conn) { _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	s := Settings{URL: broker.NewSecret("amqp://" + dead), Addresses: []string{web}}
	err := wantRefused(t, s, broker.ErrDisconnected, dead+": ", web+": ", "connection refused", "HTTP")
	if final(err) {
		t.Errorf("%v is final", err)
	}
	s = Settings{URL: broker.NewSecret("amqp://" + web), Addresses: []string{web}}
	if err := wantRefused(t, s, broker.ErrInvalid); !final(err) {
		t.Errorf("%v is not final", err)
	}
}

// The server's word about credentials and vhosts is the cluster's: no other
// address is asked.
func TestRefusalEndsTheSearch(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Path = "/nope" })
		asked := make(chan struct{}, 10)
		s.Addresses = []string{listen(t, func(net.Conn) { asked <- struct{}{} })}
		err := wantRefused(t, s, broker.ErrAccessDenied, "nope")
		if len(asked) != 0 || !final(err) {
			t.Errorf("the next address was asked %d times: %v", len(asked), err)
		}
	})
}

// The end of a context ends a dial at once, wherever it stands.
func TestContextEndsDialling(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"amqp", "amqps"} {
		reached := make(chan struct{}, 1)
		s := Settings{
			URL: broker.NewSecret(scheme + "://" + listen(t, func(c net.Conn) {
				_, _ = io.ReadFull(c, make([]byte, 8)) // the handshake has begun
				reached <- struct{}{}
			})),
			Addresses: []string{deadAddress(t)}, DialTimeout: time.Minute, ConnectTimeout: time.Minute,
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-reached
			cancel(errors.New("shutting down"))
		}()
		began := time.Now()
		_, _, err := mustDialer(t, s).dial(ctx, "test")
		if !errors.Is(err, broker.ErrDisconnected) || !strings.Contains(fmt.Sprint(err), "shutting down") || strings.Contains(fmt.Sprint(err), s.Addresses[0]) {
			t.Errorf("%s: %v", scheme, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: it took %s", scheme, took)
		}
	}
}

// A server that is frozen in the middle of the handshake is given up in time.
func TestStalledHandshakeIsGivenUp(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		proxy, err := faultlab.NewProxy(hostOf(t, s.URL.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = proxy.Close() }()
		answers := 0
		proxy.Intercept(faultlab.ToClient, func(_ int, data []byte) ([]byte, faultlab.Action) {
			if answers++; answers > 1 {
				return nil, faultlab.Forward // swallowed
			}
			return data, faultlab.Forward
		})
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Host = proxy.Addr() })
		s.DialTimeout = time.Second
		wantRefused(t, s, broker.ErrDisconnected, "did not finish the login within 1s")
	})
}

// A connection that is cut during the login says nothing about the password.
func TestCutLoginIsNoWrongPassword(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := at(t, server)
		proxy, err := faultlab.NewProxy(hostOf(t, s.URL.Reveal()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = proxy.Close() }()
		sent := 0
		proxy.Intercept(faultlab.ToServer, func(_ int, data []byte) ([]byte, faultlab.Action) {
			if sent++; sent > 1 {
				return nil, faultlab.Reset
			}
			return data, faultlab.Forward
		})
		s.URL = change(t, s.URL.Reveal(), func(u *url.URL) { u.Host = proxy.Addr() })
		wantRefused(t, s, broker.ErrDisconnected)
	})
}

// An authority's file is read anew, so that a renewed one is picked up.
func TestRenewedAuthorityIsPickedUp(t *testing.T) {
	t.Parallel()
	onBothLines(t, func(t *testing.T, server string) {
		s := Settings{URL: broker.NewSecret(tell(t, server, "TLS_URL"))}
		other := map[string]string{"rabbitmq": "rabbitmq4", "rabbitmq4": "rabbitmq"}[server]
		read := func(path string) string {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		s.TLS.CAFile = filepath.Join(t.TempDir(), "ca.pem")
		d := mustDialer(t, s)
		write(t, s.TLS.CAFile, read(tell(t, other, "CA")))
		if _, _, err := d.dial(t.Context(), "test"); !errors.Is(err, broker.ErrAccessDenied) {
			t.Errorf("with another authority: %v", err)
		}
		write(t, s.TLS.CAFile, read(tell(t, server, "CA")))
		wantDial(t, d)
	})
}

// A write that fails during the handshake returns when the peer's last words have
// been read, or after a moment.
func TestFailedWriteWaitsForLastWords(t *testing.T) {
	t.Parallel()
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	l := newLine(ours)
	failed := make(chan error, 1)
	go func() {
		_, err := l.Write([]byte("x"))
		failed <- err
	}()
	select {
	case <-failed:
		t.Error("the write returned before anything was read")
	case <-time.After(20 * time.Millisecond):
	}
	if _, err := l.Read(make([]byte, 1)); err == nil {
		t.Fatal("the pipe is open")
	}
	if err := <-failed; err == nil {
		t.Error("the write succeeded")
	}
	l = newLine(ours)
	if _, err := l.Write([]byte("x")); err == nil {
		t.Error("a write without a reader succeeded")
	}
	l = newLine(ours)
	l.opened()
	began := time.Now()
	if _, err := l.Write([]byte("x")); err == nil || time.Since(began) > lastWords {
		t.Errorf("a write after the handshake: %v after %s", err, time.Since(began))
	}
}
