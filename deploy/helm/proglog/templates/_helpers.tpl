{{- define "proglog.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "proglog.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "proglog.labels" -}}
{{ include "proglog.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "proglog.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "proglog.name" .) }}
{{- end }}

{{/* What can't be right, said before anything is installed. */}}
{{- define "proglog.check" -}}
{{- with .Values }}
{{- if and (not .cluster.enabled) (ne (int .replicas) 1) }}
{{- fail "cluster.enabled is false, and a node that is in no cluster is alone: set replicas to 1." }}
{{- end }}
{{- if and .cluster.enabled (not .tls.peer.secretPrefix) (not .tls.peer.volume) }}
{{- fail "Nodes speak with each other by mutual TLS only: set tls.peer.secretPrefix (or tls.peer.volume). docs/howto/kubernetes.md says how certificates are made." }}
{{- end }}
{{- if and (not .tls.server.secretName) (not .insecure) }}
{{- fail "Clients come in clear: set tls.server.secretName, or insecure to true where you trust everybody who reaches the port." }}
{{- end }}
{{- if and .tls.server.secretName (eq .tls.server.clientAuth "require") (not .tls.server.probeSecretName) }}
{{- fail "Clients have to show certificates, and probes are clients: set tls.server.probeSecretName, or tls.server.clientAuth to optional." }}
{{- end }}
{{- if and .cluster.enabled (lt (int .replicas) (int .cluster.initialNodes)) }}
{{- fail "The cluster is formed by cluster.initialNodes nodes, and there are fewer replicas: it would never begin." }}
{{- end }}
{{- if and .cluster.enabled $.Release.IsInstall (ne (int .replicas) (int .cluster.initialNodes)) }}
{{- fail "More new nodes than cluster.initialNodes can't tell who is too many: set it to replicas for the installation, and leave it when more come." }}
{{- end }}
{{- end }}
{{- end }}

{{/* Probes over HTTP where that is possible; where clients have to show certificates, by the command, which can. */}}
{{- define "proglog.probe" -}}
{{- $server := .root.Values.tls.server -}}
{{- if and $server.secretName (eq $server.clientAuth "require") -}}
exec:
  command:
    - proglog
    - health
    {{- if eq .path "/livez" }}
    - --live
    {{- end }}
{{- else -}}
httpGet:
  path: {{ .path }}
  port: clients
  scheme: {{ if $server.secretName }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}
periodSeconds: {{ .root.Values.probes.periodSeconds }}
timeoutSeconds: {{ .root.Values.probes.timeoutSeconds }}
{{- end }}
