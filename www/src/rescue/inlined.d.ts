/** What `xtask/js/rescue.mjs` puts into recover.html, compressed (RFC 1951), in base64. */
declare module 'rescue:worker' {
  const packed: string;
  export default packed;
}
declare module 'rescue:wasm' {
  const packed: string;
  export default packed;
}
