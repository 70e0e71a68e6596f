import com.google.gson.Gson;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * A Java program that asks the server by OFREP, and tells who was exposed and how
 * it went. It needs nothing but a JSON library, to show what goes over the wire;
 * with OpenFeature's SDK and its OFREP provider, the first half is theirs.
 *
 * <pre>FLYBALL_SERVER=http://127.0.0.1:8080 FLYBALL_TOKEN=fb_sdk_… \
 * java -cp /usr/share/java/gson.jar java/Example.java user-1</pre>
 */
public class Example {
    static final String SERVER = System.getenv("FLYBALL_SERVER"), TOKEN = System.getenv("FLYBALL_TOKEN");
    static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(3)).build();
    static final Gson JSON = new Gson();

    /** Returns an answer; refusals are answers too. */
    static HttpResponse<String> post(String path, Object body) throws IOException, InterruptedException {
        return HTTP.send(HttpRequest.newBuilder(URI.create(SERVER + path)).timeout(Duration.ofSeconds(3))
                .header("Authorization", "Bearer " + TOKEN).header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofString(JSON.toJson(body))).build(), HttpResponse.BodyHandlers.ofString());
    }

    /** Returns what the server says of a flag; an error code if it does not answer. */
    static JsonObject evaluate(String flag, Map<String, Object> context) throws InterruptedException {
        try {
            return JSON.fromJson(post("/ofrep/v1/evaluate/flags/" + flag, Map.of("context", context)).body(), JsonObject.class);
        } catch (IOException outage) { // a program goes on without its flags
            var general = new JsonObject();
            general.addProperty("errorCode", "GENERAL");
            return general;
        }
    }

    public static void main(String[] args) throws Exception {
        var unit = args[0];
        var details = evaluate("shop.checkout.fast", Map.of("targetingKey", unit, "plan", "pro"));
        var answered = !details.has("errorCode");
        boolean fast = answered && details.get("value").getAsBoolean(); // the default is false
        System.out.printf("fast: %b (%s, %s)%n", fast,
                answered ? details.get("variant").getAsString() : null, answered ? details.get("reason").getAsString() : "ERROR");

        // A program gathers these, and sends a batch as often as the answer says.
        var now = Instant.now().toString();
        var metadata = answered ? details.getAsJsonObject("metadata") : new JsonObject();
        List<Object> exposures = !metadata.has("rollout") ? List.of() : List.of(Map.of(
                "t", now, "flag", "shop.checkout.fast", "variant", details.get("variant"), "unit", unit,
                "rollout", metadata.get("rollout"), "step", metadata.get("step"), "version", metadata.get("version")));
        var answer = post("/sdk/v1/telemetry", Map.of(
                "batch", UUID.randomUUID(), "seq", 1, "sentAt", now,
                "instance", Map.of("id", "example-java-" + ProcessHandle.current().pid(), "service", "example-java", "version", "1.0.0"),
                "exposures", exposures,
                "observations", List.of(Map.of("t", now, "metric", "shop.checkout.errors", "unit", unit, "value", 0))));
        if (answer.statusCode() != 202) {
            throw new IOException("telemetry: " + answer.statusCode() + " " + answer.body());
        }
    }
}
