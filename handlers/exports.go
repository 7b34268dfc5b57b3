package handlers

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// certificateDir is where qemu and libvirt look for a client's certificate.
const certificateDir = "/etc/pki/qemu"

// exportView tells how servers reach something attached, a snapshot for reading; nil
// when the backend does not serve it itself.
func exportView(c echo.Context, kind models.SubjectType, of *models.Attached) *views.Export {
	if of.Export.None() || len(of.Attachments) == 0 {
		return nil
	}
	host, port, err := net.SplitHostPort(of.Export.Address)
	if err != nil {
		return nil
	}
	if site := RequestOf(c).Site; site.ExportHost != "" {
		host = site.ExportHost
	}
	e := &views.Export{Host: host, Port: port, Name: of.Export.Name, TLS: of.Export.Protocol == "nbds", ReadOnly: kind == models.SubjectSnapshot}
	if ip, err := netip.ParseAddr(host); host == "localhost" || (err == nil && ip.IsLoopback()) {
		e.ThisMachine = true
	}
	e.URI = of.Export.Protocol + "://" + net.JoinHostPort(host, port) + "/" + of.Export.Name
	e.Commands = []views.Command{{Tool: "nbd-client", Text: nbdClient(e)}}
	if e.ReadOnly {
		e.Commands = append(e.Commands, views.Command{Tool: "mount-ext4", Text: mountReadOnly("noload")}, views.Command{Tool: "mount-xfs", Text: mountReadOnly("norecovery,nouuid")})
	}
	e.Commands = append(e.Commands, views.Command{Tool: "qemu-system", Text: qemuDrive(e)}, views.Command{Tool: "libvirt", Text: libvirtDisk(e)})
	return e
}

// mountReadOnly is the command that mounts the file system on /dev/nbd0 without replaying
// its journal, which would write; how says that in the words of the file system.
func mountReadOnly(how string) string { return "sudo mount -o ro," + how + " /dev/nbd0 /mnt" }

// nbdClient is the command that makes the export /dev/nbd0 of a Linux server.
func nbdClient(e *views.Export) string {
	command := fmt.Sprintf("sudo modprobe nbd\nsudo nbd-client %s %s /dev/nbd0 -name %s", e.Host, e.Port, e.Name)
	if e.ReadOnly {
		command += " -readonly"
	}
	if e.TLS {
		command += fmt.Sprintf(" -certfile %[1]s/client-cert.pem -keyfile %[1]s/client-key.pem -cacertfile %[1]s/ca-cert.pem -tlshostname %[2]s",
			certificateDir, e.Host)
	}
	return command
}

// qemuDrive is the command that makes the export a virtio disk of a qemu machine.
func qemuDrive(e *views.Export) string {
	mode := "discard=unmap"
	if e.ReadOnly {
		mode = "readonly=on"
	}
	if !e.TLS {
		return fmt.Sprintf("qemu-system-x86_64 -drive file=%s,format=raw,if=virtio,%s", e.URI, mode)
	}
	return fmt.Sprintf("qemu-system-x86_64 -object tls-creds-x509,id=tls0,endpoint=client,dir=%s -drive file.driver=nbd,file.server.type=inet,"+
		"file.server.host=%s,file.server.port=%s,file.export=%s,file.tls-creds=tls0,format=raw,if=virtio,%s",
		certificateDir, e.Host, e.Port, e.Name, mode)
}

var xmlText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&apos;", `"`, "&quot;")

// libvirtDisk is the disk element of a libvirt domain.
func libvirtDisk(e *views.Export) string {
	tls, discard, readOnly := "", " discard='unmap'", ""
	if e.TLS {
		tls = " tls='yes'"
	}
	if e.ReadOnly {
		discard, readOnly = "", "\n  <readonly/>"
	}
	return fmt.Sprintf(`<disk type='network' device='disk'>
  <driver name='qemu' type='raw'%s/>
  <source protocol='nbd' name='%s'%s>
    <host name='%s' port='%s'/>
  </source>
  <target dev='vdb' bus='virtio'/>%s
</disk>`, discard, xmlText.Replace(e.Name), tls, xmlText.Replace(e.Host), e.Port, readOnly)
}

// attachedServers are the servers of an object with their clients.
func attachedServers(of *models.Attached) []views.AttachedServer {
	var all []views.AttachedServer
	for _, a := range of.Attachments {
		s := views.AttachedServer{Server: views.Link{ID: a.ServerID, Name: a.ServerName}, Use: string(of.Use(a.ServerID)), UsedAt: a.UsedAt, Leaving: a.DetachingAt > 0}
		for _, c := range of.Connections {
			if c.ServerID == a.ServerID {
				s.Clients = append(s.Clients, clientView(c))
			}
		}
		all = append(all, s)
	}
	return all
}

func clientView(c models.Connection) views.Client {
	return views.Client{ID: c.ID, Address: c.Address, Identity: c.Identity, Since: c.Since, ActiveAt: c.ActiveAt,
		Read: c.BytesRead, Written: c.BytesWritten}
}

const maxClientsNamed = 2

// busyNote names the clients that a detach waits for.
func busyNote(v *models.Volume) views.Message {
	if v.Status != models.Detaching {
		return views.Message{}
	}
	return heldBy(v.Clients())
}

// readersNote says which servers read a snapshot, or which clients a detach waits for.
func readersNote(s *models.Snapshot) views.Message {
	if note := heldBy(s.LeavingClients()); note.Key != "" || s.AttachmentCount == 0 {
		return note
	}
	names := s.ServerNames()
	if len(names) > maxClientsNamed {
		return Msg(models.NewText("snapshot.read_by_more", strings.Join(names[:maxClientsNamed], ", "), fmt.Sprint(len(names)-maxClientsNamed)))
	}
	return Msg(models.NewText("snapshot.read_by", strings.Join(names, ", ")))
}

// heldBy names clients that a detach waits for.
func heldBy(clients []string) views.Message {
	switch {
	case len(clients) == 0:
		return views.Message{}
	case len(clients) > maxClientsNamed:
		return Msg(models.NewText("volume.held_by_more", strings.Join(clients[:maxClientsNamed], ", "), fmt.Sprint(len(clients)-maxClientsNamed)))
	}
	return Msg(models.NewText("volume.held_by", strings.Join(clients, ", ")))
}

type exportJSON struct {
	Protocol string `json:"protocol"`
	Host     string `json:"host"`
	Port     string `json:"port"`
	Name     string `json:"name"`
	URI      string `json:"uri"`
}

type connectionJSON struct {
	ServerID     string `json:"server_id"`
	Address      string `json:"address"`
	Identity     string `json:"identity,omitempty"`
	Since        string `json:"since"`
	ActiveAt     string `json:"active_at"`
	BytesRead    int64  `json:"bytes_read"`
	BytesWritten int64  `json:"bytes_written"`
}

// volumeDetailJSON is volumeJSON with the export and the connections.
type volumeDetailJSON struct {
	volumeJSON
	servedJSON
}

// servedJSON is where something attached is served, and to whom.
type servedJSON struct {
	Export      *exportJSON      `json:"export,omitempty"`
	Connections []connectionJSON `json:"connections,omitempty"`
}

func toVolumeDetailJSON(c echo.Context, v *models.Volume) volumeDetailJSON {
	return volumeDetailJSON{toVolumeJSON(c, v), toServedJSON(c, models.SubjectVolume, &v.Attached)}
}

func toServedJSON(c echo.Context, kind models.SubjectType, of *models.Attached) (j servedJSON) {
	if e := exportView(c, kind, of); e != nil {
		j.Export = &exportJSON{Protocol: of.Export.Protocol, Host: e.Host, Port: e.Port, Name: e.Name, URI: e.URI}
	}
	for _, k := range of.Connections {
		j.Connections = append(j.Connections, connectionJSON{ServerID: k.ServerID, Address: k.Address, Identity: k.Identity,
			Since: rfc3339(k.Since), ActiveAt: rfc3339(k.ActiveAt), BytesRead: k.BytesRead, BytesWritten: k.BytesWritten})
	}
	return j
}
