"""The words of proxies, and of their lines, that need no code, each with its verdict. No I/O.

Those that are used have their rows in ``proxy_words``, ``http_words``, ``access_words`` and
``server_words``; ``keywords`` says what a verdict means.

Source: HAProxy 2.6 configuration manual, 4.1, 5.1 and 5.2.
"""

from __future__ import annotations

from dsbalance.haproxy.keywords import keywords, words

IDLE_PROXY_WORDS = keywords("""
    appsession                            DLB  gone
    backlog                               DFL  none
    bind-process                          DFLB  none
    block                                 DFL  gone
    capture                               FL  none
    cliexp                                DFL  gone
    clitimeout                            DFL  gone  write 'timeout client'
    compression                           DFLB  http
    contimeout                            DLB  gone  write 'timeout connect'
    cookie                                DLB  http  clients stick by their address: 'stick on src'
    declare                               FL  none
    dispatch                              LB  lack  write a server
    dynamic-cookie-key                    DLB  http
    email-alert                           DFLB  none
    error-log-format                      DFL  none
    errorfiles                            DFLB  http  write an 'errorfile' for each status
    errorloc                              DFLB  http  write 'errorfile'
    errorloc302                           DFLB  http  write 'errorfile'
    errorloc303                           DFLB  http  write 'errorfile'
    external-check                        DLB  check
    filter                                FLB  lack
    force-persist                         LB  lack
    grace                                 DFLB  gone
    http-after-response                   DFLB  http
    http-check                            DLB  check
    http-error                            DFLB  http  write 'errorfile'
    http-send-name-header                 DLB  http
    ignore-persist                        LB  lack
    log-format-sd                         DFL  none
    max-keep-alive-queue                  DLB  http
    max-session-srv-conns                 DFL  none
    monitor                               FL  http  write 'monitor-uri'
    monitor-net                           DFL  gone
    option abortonclose                   DLB*  lack
    option accept-invalid-http-request    DFL*  http  what may be read in two ways is refused
    option accept-invalid-http-response   DLB*  http  what may be read in two ways is refused
    option checkcache                     DLB*  http
    option contstats                      DFL*  none
    option disable-h2-upgrade             DFL*  none
    option external-check                 DLB  check
    option forceclose                     DFLB*  gone  write 'option httpclose'
    option h1-case-adjust-bogus-client    DFL*  none
    option h1-case-adjust-bogus-server    DLB*  none
    option http-buffer-request            DFLB*  http
    option http-ignore-probes             DFL*  http
    option http-no-delay                  DFLB*  none
    option http-pretend-keepalive         DLB*  http
    option http-restrict-req-hdr-names    DFLB  http  fields are passed on whatever their names
    option http-tunnel                    DFLB*  gone
    option http-use-proxy-header          DFL*  http
    option http_proxy                     DFLB*  gone
    option httpchk                        DLB  check
    option idle-close-on-response         DFL*  http
    option independent-streams            DFLB*  lack
    option ldap-check                     DLB  check
    option logasap                        DFL*  none
    option mysql-check                    DLB  check
    option nolinger                       DFLB*  lack
    option pgsql-check                    DLB  check
    option prefer-last-server             DLB*  http
    option redis-check                    DLB  check
    option smtpchk                        DLB  check
    option splice-auto                    DFLB*  none
    option splice-request                 DFLB*  none
    option splice-response                DFLB*  none
    option spop-check                     DLB  check
    option ssl-hello-chk                  DLB  check
    option tcp-smart-accept               DFL*  none
    option tcp-smart-connect              DLB*  none
    option transparent                    DLB*  lack
    persist                               DLB  lack
    rate-limit                            DFL  lack
    redisp                                DLB  gone  write 'option redispatch'
    redispatch                            DLB  gone  write 'option redispatch'
    reqadd                                DFLB  gone  write 'http-request'
    reqallow                              DFLB  gone  write 'http-request'
    reqdel                                DFLB  gone  write 'http-request'
    reqdeny                               DFLB  gone  write 'http-request'
    reqiallow                             DFLB  gone  write 'http-request'
    reqidel                               DFLB  gone  write 'http-request'
    reqideny                              DFLB  gone  write 'http-request'
    reqipass                              DFLB  gone  write 'http-request'
    reqirep                               DFLB  gone  write 'http-request'
    reqitarpit                            DFLB  gone  write 'http-request'
    reqpass                               DFLB  gone  write 'http-request'
    reqrep                                DFLB  gone  write 'http-request'
    reqtarpit                             DFLB  gone  write 'http-request'
    retry-on                              DLB  lack  a failed connect is retried, nothing else is
    rspadd                                DFLB  gone  write 'http-response'
    rspdel                                DFLB  gone  write 'http-response'
    rspdeny                               DFLB  gone  write 'http-response'
    rspidel                               DFLB  gone  write 'http-response'
    rspideny                              DFLB  gone  write 'http-response'
    rspirep                               DFLB  gone  write 'http-response'
    rsprep                                DFLB  gone  write 'http-response'
    server-template                       LB  lack  write a line for each server
    source                                DLB  lack
    srvexp                                DLB  gone
    srvtimeout                            DLB  gone  write 'timeout server'
    stick store-response                  LB  lack  the client's address is stored by 'stick on src'
    tcp-check comment                     DLB  none
    tcp-check expect                      DLB  check
    tcp-check send                        DLB  check
    tcp-check send-binary                 DLB  check
    tcp-check send-binary-lf              DLB  check
    tcp-check send-lf                     DLB  check
    tcp-check set-var                     DLB  check
    tcp-check set-var-fmt                 DLB  check
    tcp-check unset-var                   DLB  check
    tcp-request content                   FLB  lack  write 'tcp-request connection'
    tcp-request inspect-delay             FLB  none
    tcp-request session                   FL  lack  write 'tcp-request connection'
    tcp-response                          DLB  lack
    timeout clitimeout                    DFL  gone  write 'timeout client'
    timeout contimeout                    DLB  gone  write 'timeout connect'
    timeout srvtimeout                    DLB  gone  write 'timeout server'
    timeout tarpit                        DFLB  none
    transparent                           DLB  lack
    unique-id-format                      DFL  none
    unique-id-header                      DFL  http
    use-fcgi-app                          LB  http
    use-server                            LB  lack  write 'use_backend'
""")

IDLE_BIND_WORDS = words("""
    accept-netscaler-cip   1  lack  write 'accept-proxy'
    allow-0rtt             0  tls
    alpn                   1  tls
    backlog                1  none
    ca-file                1  tls
    ca-ignore-err          1  tls
    ca-sign-file           1  tls
    ca-sign-pass           1  tls
    ca-verify-file         1  tls
    ciphers                1  tls
    ciphersuites           1  tls
    crl-file               1  tls
    crt                    1  tls
    crt-ignore-err         1  tls
    crt-list               1  tls
    curves                 1  tls
    defer-accept           0  none
    ecdhe                  1  tls
    expose-fd              1  none
    force-sslv3            0  tls
    force-tlsv10           0  tls
    force-tlsv11           0  tls
    force-tlsv12           0  tls
    force-tlsv13           0  tls
    generate-certificates  0  tls
    gid                    1  none
    group                  1  none
    interface              1  lack  write the address of the interface
    level                  1  none
    maxconn                1  lack  write 'maxconn' in the section
    mode                   1  none
    mss                    1  lack
    namespace              1  lack
    nice                   1  none
    no-ca-names            0  tls
    no-sslv3               0  tls
    no-tls-tickets         0  tls
    no-tlsv10              0  tls
    no-tlsv11              0  tls
    no-tlsv12              0  tls
    no-tlsv13              0  tls
    npn                    1  tls
    prefer-client-ciphers  0  tls
    process                1  none
    proto                  1  lack
    quic-cc-algo           1  lack
    quic-force-retry       0  lack
    severity-output        1  none
    shards                 1  none
    ssl                    0  tls
    ssl-max-ver            1  tls
    ssl-min-ver            1  tls
    strict-sni             0  tls
    tcp-ut                 1  lack  'option clitcpka' finds the dead
    tfo                    0  none
    thread                 1  none
    tls-ticket-keys        1  tls
    transparent            0  lack
    uid                    1  none
    user                   1  none
    verify                 1  tls
""")

IDLE_SERVER_WORDS = words("""
    agent-addr               1  agent
    agent-check              0  agent
    agent-inter              1  agent
    agent-port               1  agent
    agent-send               1  agent
    allow-0rtt               0  tls
    alpn                     1  tls
    ca-file                  1  tls
    check-alpn               1  tls
    check-proto              1  check
    check-sni                1  tls
    check-ssl                0  tls
    check-via-socks4         0  lack
    ciphers                  1  tls
    ciphersuites             1  tls
    cookie                   1  lack  clients stick by their address: 'stick on src'
    crl-file                 1  tls
    crt                      1  tls
    force-sslv3              0  tls
    force-tlsv10             0  tls
    force-tlsv11             0  tls
    force-tlsv12             0  tls
    force-tlsv13             0  tls
    interface                1  lack
    log-proto                1  none
    max-reuse                1  none
    namespace                1  lack
    no-agent-check           0  none
    no-check-ssl             0  none
    no-send-proxy-v2-ssl     0  none
    no-send-proxy-v2-ssl-cn  0  none
    no-ssl                   0  none
    no-ssl-reuse             0  none
    no-sslv3                 0  none
    no-tfo                   0  none
    no-tls-tickets           0  none
    no-tlsv10                0  none
    no-tlsv11                0  none
    no-tlsv12                0  none
    no-tlsv13                0  none
    no-verifyhost            0  none
    npn                      1  tls
    pool-low-conn            1  none
    pool-max-conn            1  none
    pool-purge-delay         1  none
    proto                    1  lack
    proxy-v2-options         1  lack
    redir                    1  lack
    resolve-net              1  name
    resolve-opts             1  name
    resolve-prefer           1  name
    resolvers                1  name
    send-proxy-v2-ssl        0  tls
    send-proxy-v2-ssl-cn     0  tls
    sni                      1  tls
    socks4                   1  lack
    source                   1  lack
    ssl                      0  tls
    ssl-max-ver              1  tls
    ssl-min-ver              1  tls
    ssl-reuse                0  none
    stick                    0  none
    tcp-ut                   1  lack  'option srvtcpka' finds the dead
    tfo                      0  none
    tls-tickets              0  none
    usesrc                   1  lack
    verify                   1  tls
    verifyhost               1  tls
    ws                       1  lack
""")
